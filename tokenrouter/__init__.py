"""TokenRouter: a gateway that makes the prompt caches of LLM providers hit. Importing it does nothing else."""

__version__ = "0.1.0"
