"""The vendors' own clients for JavaScript, and the AI SDK, against the gateway: every client with a model of every vendor."""

import shutil
import subprocess
from pathlib import Path

import pytest
from served import Gateway

SCRIPTS = Path(__file__).parent / "node"
MODELS = [  # of every vendor whose models can be told to call a tool, which Ollama's can not
    *("gpt-4.1", "claude-sonnet-4-5", "gemini-2.5-flash", "deepseek-chat"),
    *("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "vertex/gemini-2.5-flash", "vertex-anthropic/claude-sonnet-4-5"),
]

pytestmark = pytest.mark.node


@pytest.fixture(scope="session")
def node() -> str:
    """The interpreter, with the packages of package.json installed beside the scripts."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed here (Debian: apt install nodejs npm)")
    if not (SCRIPTS / "node_modules" / ".package-lock.json").exists():
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--loglevel=error"]
        installed = subprocess.run(command, cwd=SCRIPTS, capture_output=True, text=True, timeout=300, check=False)
        if installed.returncode:
            pytest.skip(f"the packages could not be installed: {installed.stderr[-500:]}")
    return node


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("script", ["openai", "anthropic", "genai", "ai"])
def test_a_client_gets_what_it_asks_for(node: str, gateway: Gateway, script: str, model: str):
    command = [node, str(SCRIPTS / f"{script}.mjs"), gateway.url, gateway.key, model]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1].startswith("PASSED")
