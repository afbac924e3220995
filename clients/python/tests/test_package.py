import inspect
import pathlib
import re
import subprocess
import sys

from conftest import GUILD

import guildcast
import guildcast.asyncio

PACKAGE = pathlib.Path(__file__).parents[1]


def test_both_forms_have_the_same_api():
    for name in guildcast.__all__:
        one, other = getattr(guildcast, name), getattr(guildcast.asyncio, name)
        if one is other:
            continue
        members = [name for name in vars(one) if not name.startswith("_")] if inspect.isclass(one) else [None]
        assert not inspect.isclass(one) or members == [n for n in vars(other) if not n.startswith("_")]
        for member in members:
            a, b = (getattr(form, member) if member else form for form in (one, other))
            assert inspect.signature(a) == inspect.signature(b), f"{name}.{member}"
            assert (a.__doc__ or "").split("\n")[0] == (b.__doc__ or "").split("\n")[0], f"{name}.{member}"
            assert inspect.iscoroutinefunction(b) or name == "connect", f"{name}.{member}"
    assert guildcast.__all__ == guildcast.asyncio.__all__


def test_types():
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=PACKAGE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def blocks(heading=None):
    text = (PACKAGE / "README.md").read_text()
    if heading is not None:
        text = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    assert found and all(language == "python" for language, _ in found)
    return "\n".join(code for _, code in found)


def run(program, server, tmp_path):
    file = tmp_path / "readme.py"
    file.write_text(program.replace("redis://localhost:6379", server.url))
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": str(PACKAGE / "src"), "PATH": ""})
    assert (done.returncode, done.stderr) == (0, "")


def test_the_readme_is_a_program_that_works(server, tmp_path):
    program = blocks().replace(blocks("With asyncio"), "")
    run(program, server, tmp_path)
    client = server.client()
    assert client.xlen(f"guildcast:history:{{{GUILD}}}") == 4
    assert client.zcard("guildcast:revocations") == 2
    assert not client.exists(f"guildcast:pool:{{{GUILD}}}:member")


def test_the_readme_works_with_asyncio(server, tmp_path):
    run(blocks("With asyncio"), server, tmp_path)
    assert server.client().xlen(f"guildcast:history:{{{GUILD}}}") == 1
