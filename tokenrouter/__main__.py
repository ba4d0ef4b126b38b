"""`python -m tokenrouter` is the command `tokenrouter`."""

from tokenrouter.cli import main

raise SystemExit(main())
