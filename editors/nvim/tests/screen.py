#!/usr/bin/env python3
"""Scenarios in a real terminal: each runs Neovim in tmux, sends keys as a user types them, and checks the screen.

    screen.py NVIM [--pictures FOLDER] [NAME...]

Prints `ok NAME` or `not ok NAME` for each scenario, with the screen of a failed one. LOOMD_BIN names the server. Each
step waits for a text on the screen, so there are no pauses. With --pictures, aha and chromium draw the pictures of the
README.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PLUGIN = os.path.dirname(HERE)
BINARY = os.environ["LOOMD_BIN"]
AGENTS = os.path.join(PLUGIN, "..", "..", "tests", "agents")
DEADLINE = 90  # seconds; it is reached only if something is broken

INIT = """
vim.opt.runtimepath:prepend({plugin!r})
vim.cmd.source({plugin!r} .. "/plugin/loomd.lua")
vim.o.swapfile = false
vim.o.termguicolors = true
vim.o.laststatus = 3
vim.o.ruler = false
vim.o.showcmd = false
vim.o.statusline = " %f %m%=%{{v:lua.require'loomd'.status()}} "
vim.g.loomd = {options}
vim.keymap.set("n", "<Space>l", "<Plug>(loomd-runs)")
{more}
"""


class ScenarioError(Exception):
    pass


class Screen:
    """One Neovim in one terminal, with directories of its own."""

    def __init__(self, nvim, columns=110, lines=30, options="", fake=None, more="", agent=None):
        self.nvim, self.columns, self.lines, self.agent = nvim, columns, lines, agent
        # tests/agents/world runs an agent with directories of its own. Codex does not accept a home below /tmp.
        self.home = tempfile.mkdtemp(prefix="loomd-nvim-", dir="/var/tmp") if agent else tempfile.mkdtemp(prefix="s")
        self.deadline = 2 * DEADLINE if agent else DEADLINE
        self.work = os.path.join(self.home, "work" if agent else "parser")
        os.makedirs(self.work)
        os.makedirs(os.path.join(self.home, "data", "runs"), mode=0o700)
        self.socket = os.path.join(self.home, "nvim.sock")
        self.name = "loomd-%d-%s" % (os.getpid(), os.path.basename(self.home))
        command = "cmd = { 'python3', %r }, env = { FAKE_SCRIPT = %r }" % (os.path.join(HERE, "fake_server.py"), fake) if fake else "cmd = %r" % BINARY
        self.init = os.path.join(self.home, "init.lua")
        with open(self.init, "w") as file:
            file.write(INIT.format(plugin=PLUGIN, options="{ %s, %s }" % (command, options), more=more))
        self.started = False

    def tmux(self, *words):
        return subprocess.run(["tmux", "-L", self.name, "-f", "/dev/null", *words], capture_output=True, text=True)

    def open(self, *arguments):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TMUX", "LOOMD_", "NVIM", "VIM"))}
        clean.update(
            TERM="tmux-256color", COLORTERM="truecolor", LANG="C.UTF-8", LC_ALL="C.UTF-8", NVIM_LOG_FILE="/dev/null", LOOMD_DATA_DIR=self.home + "/data", SHELL="/bin/sh", HOME=self.home,
            XDG_CONFIG_HOME=self.home + "/config", XDG_STATE_HOME=self.home + "/state", XDG_CACHE_HOME=self.home + "/cache", XDG_DATA_HOME=self.home + "/share",
        )  # fmt: skip
        wrapper = []
        if self.agent:
            # tests/agents/world clears the environment and sets HOME and PATH itself.
            clean = {name: clean[name] for name in ("TERM", "COLORTERM", "LC_ALL", "NVIM_LOG_FILE", "LOOMD_DATA_DIR", "SHELL")}
            wrapper = [os.path.join(AGENTS, "world"), "--dir", self.home, "--"]
        words = ["env", *([] if self.agent else ["-i"]), *("%s=%s" % pair for pair in clean.items()), self.nvim, "-u", self.init, "-i", "NONE", "--listen", self.socket, *arguments]
        line = "cd %s && exec %s" % (shlex.quote(self.work), " ".join(shlex.quote(word) for word in words))
        if self.started:
            self.tmux("respawn-pane", "-k", "-t", "s", line)
        else:
            session = ["new-session", "-d", "-s", "s", "-x", str(self.columns), "-y", str(self.lines), line]
            subprocess.run([*wrapper, "tmux", "-L", self.name, "-f", "/dev/null", *session], capture_output=True, env={**os.environ, "TERM": "xterm-256color"})
            self.tmux("set-option", "-t", "s", "remain-on-exit", "on")
            self.started = True
        self.until("the editor", lambda: self.remote("1") == "1")

    def remote(self, expression):
        """Evaluates an expression in that Neovim."""
        # Neovim does not respond during a hit-enter prompt.
        words = ["timeout", str(self.deadline), self.nvim, "--server", self.socket, "--remote-expr", expression]
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "NVIM_LOG_FILE": "/dev/null"})
        return done.stdout.strip()

    def lua(self, expression):
        return self.remote("luaeval('%s')" % expression.replace("'", "''"))

    def keys(self, *keys):
        """Sends keys such as Enter, Escape and C-c by name, and types anything else."""
        for key in keys:
            if re.fullmatch(r"Enter|Escape|Tab|Space|BSpace|Up|Down|C-.", key):
                self.tmux("send-keys", "-t", "s", key)
            else:
                self.tmux("send-keys", "-t", "s", "-l", "--", key)

    def text(self):
        return self.tmux("capture-pane", "-p", "-t", "s").stdout

    def until(self, what, condition):
        end = time.monotonic() + self.deadline
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.03)
        raise ScenarioError("timed out waiting for %s; on the screen:\n%s" % (what, self.text()))

    def see(self, pattern):
        return self.until("/%s/" % pattern, lambda: re.search(pattern, self.text(), re.M))

    def see_not(self, pattern):
        self.until("no more /%s/" % pattern, lambda: not re.search(pattern, self.text(), re.M))

    def check(self, what, holds):
        if not holds:
            raise ScenarioError("%s; on the screen:\n%s" % (what, self.text()))

    def picture(self, folder, name):
        if not folder or not shutil.which("aha") or not shutil.which("chromium"):
            return
        colors = self.tmux("capture-pane", "-e", "-N", "-p", "-t", "s").stdout
        page = subprocess.run(["aha", "--black", "--title", name], input=colors, capture_output=True, text=True).stdout
        page = page.replace("<pre>", '<pre style="font:14px/16px DejaVu Sans Mono,monospace;margin:10px">')
        path = os.path.join(self.home, name + ".html")
        with open(path, "w") as file:
            file.write(page)
        os.makedirs(folder, exist_ok=True)
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--hide-scrollbars", "--user-data-dir=" + os.path.join(self.home, "chromium"), "--window-size=%d,%d" % (self.columns * 8.43 + 20, self.lines * 16 + 20),
             "--screenshot=" + os.path.abspath(os.path.join(folder, name + ".png")), "file://" + path],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip

    def close(self):
        self.remote("execute('qa!')") if self.started else None
        self.tmux("kill-server")
        listed = subprocess.run([BINARY, "--data-dir", self.home + "/data", "list"], capture_output=True, text=True).stdout
        for line in listed.splitlines():
            words = line.split()
            if len(words) > 1 and not words[1].startswith(("succeeded", "failed", "cancelled", "timed", "lost")):
                subprocess.run([BINARY, "--data-dir", self.home + "/data", "cancel", words[0]], capture_output=True)
        if self.agent:
            # Claude writes its files again after its terminal has closed, so this waits until it has exited.
            living = [os.path.join(AGENTS, "world"), "--dir", self.home, "ps"]
            end = time.monotonic() + DEADLINE
            while subprocess.run(living, capture_output=True).stdout.strip() and time.monotonic() < end:
                time.sleep(0.05)
        shutil.rmtree(self.home, ignore_errors=True)


SCENARIOS = []


def scenario(**options):
    def register(function):
        SCENARIOS.append((function.__name__, function, options))
        return function

    return register


SAMPLE_RUNS = os.path.join(HERE, "sample_runs.json")


@scenario()
def start_a_run(screen, pictures):
    """A template is picked and a command typed; no window opens, and the command is offered the next time."""
    screen.open()
    screen.keys(":Loomd start", "Enter")
    screen.see(r"1: .*command")
    screen.keys("1", "Enter")
    screen.see(r"Command:")
    screen.keys("echo started; exec sleep 1000", "Enter")
    screen.see(r"Started echo started; exec sleep 1000 \([0-9a-f]{8}\)")
    screen.see(r"loomd: 1 running")
    screen.check("a window was opened", screen.remote("winnr('$')") == "1")
    screen.keys(":Loomd start", "Enter")
    screen.see(r"1: .*command")
    screen.keys("1", "Enter")
    screen.see(r"Command: echo started; exec sleep 1000")
    screen.keys("C-c")


@scenario()
def list_of_runs(screen, pictures):
    """Rows change while they are visible, keys act on the row under the cursor, and g? shows them."""
    screen.open()
    screen.keys(":Loomd start command sh -c 'echo one; exec sleep 1000'", "Enter", ":Loomd", "Enter")
    screen.see(r"▶ running +command +sh -c .* \d+s")
    screen.keys("g?")
    screen.see(r"x +cancel the run")
    screen.keys("g?")
    screen.see_not(r"x +cancel the run")
    screen.keys("r")
    screen.until("a second run", lambda: len(re.findall(r"▶ running", screen.text())) == 2)
    screen.keys("x")
    screen.see(r"■ cancelled")
    screen.see(r"0 waiting · 1 running")


@scenario(lines=24)
def live_output(screen, pictures):
    """Output has its colors, live, and the window follows the end only if its cursor is there."""
    script = os.path.join(screen.work, "build.sh")
    with open(script, "w") as file:
        file.write(
            """
for name in lexer parser printer tests; do
  printf '\\033[1;32m   Compiling\\033[0m %s v0.3.0\\n' $name
  for n in 1 2 3; do printf '\\033[2m     unit %s.%s\\033[0m\\n' $name $n; done
done
printf '\\033[1;33mwarning\\033[0m: unused variable: `last`\\n  --> src/parse.lua:14:9\\n'
printf '\\033[1;32m    Finished\\033[0m in 4.2 s\\n'
while [ ! -e stop ]; do sleep 0.05; done
for n in $(seq 40); do echo "later line $n"; done
"""
        )
    screen.open()
    screen.keys(":only", "Enter", ":Loomd! start command sh build.sh", "Enter")
    screen.see(r"Finished in 4.2 s")
    screen.see(r"▶ running +sh build.sh")
    screen.picture(pictures, "output")
    screen.keys("gg")
    with open(os.path.join(screen.work, "stop"), "w"):
        pass
    screen.see(r"✓ succeeded")
    screen.until("all lines", lambda: int(screen.remote("line('$')")) > 50)
    screen.check("the cursor was moved", screen.remote("line('.')") == "1")
    screen.keys("G")
    screen.see(r"later line 40")


# The footer of a request whose keys work.
ARMED = r"a allow · A always · d deny"


@scenario(fake=SAMPLE_RUNS, lines=26, more="vim.o.cmdheight = 1")
def approve(screen, pictures):
    """A permission request is announced, shown whole, still pending when it is closed, and answered by a key."""
    screen.open()
    screen.keys("Space", "l")
    screen.see(r"Needs input")
    screen.see(r"wants to run: rm -rf build && make test · K answer · d deny")
    screen.see(r"^ +timeout: 120000")
    screen.see(r"14 of 31 files are done")
    screen.keys(":", "Escape")
    screen.picture(pictures, "runs")
    screen.keys("K")
    screen.see(r"Permission request")
    screen.see(r"codex wants to run")
    screen.see(r"1  Yes, this time")
    screen.see(r"timeout *│\n.*120000")
    # The first moment takes no keys: this answers nothing and closes nothing.
    screen.keys("a", "q")
    screen.see(ARMED)
    screen.see(r"1  Yes, this time")
    screen.picture(pictures, "question")
    screen.keys("q")
    screen.see_not(r"1  Yes, this time")
    screen.see(r"loomd: 1 waiting, 1 running")
    screen.keys(":Loomd next", "Enter")
    screen.see(ARMED)
    screen.keys("a")
    screen.see_not(r"1  Yes, this time")
    screen.see_not(r"Needs input")


@scenario(fake=SAMPLE_RUNS, lines=40, options="output_split = 'botright vsplit | wincmd o'")
def transcript(screen, pictures):
    """An agent's transcript has its tool calls folded."""
    screen.open()
    screen.keys(":Loomd output c77a1b2c", "Enter")
    # The title is cut as soon as the plan stands beside it.
    screen.see(r"● waiting +Fix the pars(er|…)")
    screen.see(r"▸ ✓ edit: Edit src/parse.lua · completed")
    screen.check("a folded tool call is open", "local items = {}" not in screen.text())
    screen.keys("gg", "/edit: Edit", "Enter")
    screen.see(r"\+  local items = \{\}")
    screen.keys(":noh", "Enter", ":", "Escape")
    screen.picture(pictures, "transcript")
    screen.keys("Enter")
    screen.see_not(r"\+  local items = \{\}")


OLD_TEXT = """function list(tokens)
  local items = { item(tokens) }
  while tokens:take(",") do
    items[#items + 1] = item(tokens)
  end
  return items
end
"""
NEW_TEXT = """function list(tokens)
  local items = {}
  if tokens:peek("]") then
    return items
  end
  repeat
    items[#items + 1] = item(tokens)
  until not tokens:take(",")
  return items
end
"""


@scenario(fake=SAMPLE_RUNS, lines=26)
def changes(screen, pictures):
    """A tab page shows the changed files and both sides, do and gU undo what is as the run left it, and q closes it."""
    os.makedirs(os.path.join(screen.work, "src"))
    with open(os.path.join(screen.work, "src/parse.lua"), "w") as file:
        file.write(NEW_TEXT)
    screen.open()
    result = (
        '{ method = "run/changes", result = { complete = true, files = {'
        ' { path = "src/parse.lua", kind = "modify", oldText = %s, newText = %s },' % (json.dumps(OLD_TEXT), json.dumps(NEW_TEXT)) +
        ' { path = "tests/empty.lua", kind = "add", newText = "assert(#parse(\\"[]\\") == 0)\\n" } } } }'
    )
    screen.lua('require("loomd").connect()')
    screen.lua('require("loomd.server").request("fake/result", %s) and 1' % result)
    screen.keys(":Loomd diff c77a1b2c", "Enter")
    screen.see(r"M src/parse.lua")
    screen.see(r"A tests/empty.lua")
    screen.see(r'if tokens:peek\("\]"\) then')
    screen.see(r"src/parse.lua · before.*src/parse.lua · after")
    screen.keys(":", "Escape")
    screen.picture(pictures, "diff")
    path = os.path.join(screen.work, "src/parse.lua")
    screen.keys("C-w", "l", "C-w", "l", "gg", "]c", "do")
    screen.until("the first change to be undone", lambda: "{ item(tokens) }" in open(path).read())
    screen.check("the rest is undone, too", "until not tokens" in open(path).read())
    screen.keys("gU")
    screen.see(r"M src/parse.lua · undone")
    screen.check("the file is not as before", open(path).read() == OLD_TEXT)
    screen.keys("]f")
    screen.see(r'assert\(#parse\("\[\]"\) == 0\)')
    screen.keys("q")
    screen.see_not(r"tests/empty.lua")
    screen.check("the tab is still there", screen.remote("tabpagenr('$')") == "1")


@scenario(fake=SAMPLE_RUNS, lines=30)
def search(screen, pictures):
    """A search shows its results by run, and opens one in the output."""
    screen.open()
    screen.lua('require("loomd").connect()')
    text = "".join(r"\27[2mCompiling unit %d\27[0m\n" % number for number in range(40)) + r"\27[33mwarning\27[0m: unused variable `last`\n" + r"Linking\n" * 20
    entry = '{ runId = "01990000-0000-7000-8000-00005d1c77a0", kind = "output", stream = "stdout", offset = 0, text = "%s" }' % text
    screen.lua('require("loomd.server").request("fake/push", { entry = %s }) and 1' % entry)
    screen.keys(":Loomd search unused variable", "Enter")
    screen.see(r'"unused variable": 1 result')
    screen.see(r"5d1c77a0 +nightly build")
    screen.see(r"^   warning: unused variable `last`")
    screen.keys("/warning", "Enter", "Enter")
    screen.see(r"5d1c77a0 · stdout, bytes 0 to")
    screen.see(r"Compiling unit 39")
    screen.check("the cursor is elsewhere", screen.remote("getline('.')") == "warning: unused variable `last`")
    screen.keys("q")
    screen.see_not(r"stdout, bytes")


@scenario(fake=SAMPLE_RUNS, lines=26)
def prompt(screen, pictures):
    """A prompt's mentions are completed while they are typed, what goes with it is seen, and it is sent."""
    with open(os.path.join(screen.work, "parse.lua"), "w") as file:
        file.write("local a = 1\nlocal b = 2\n")
    screen.open("parse.lua")
    screen.lua('require("loomd").connect()')
    screen.keys("Vj", ":Loomd send 4be19d05", "Enter")
    screen.see(r"Message to Explain how the lexer handles comments")
    screen.see(r"\+ @parse.lua:1-2 selection, 2 lines")
    screen.keys("compare with @parse")
    if screen.remote("has('nvim-0.11')") == "1":
        screen.see(r"^.*@parse.lua +file")
        screen.keys("C-n", "C-y")
    else:
        screen.keys("Tab")
    screen.keys(", please")
    screen.see(r"compare with @parse.lua, please")
    screen.see(r"\+ @parse.lua link, 24 bytes")
    screen.picture(pictures, "prompt")
    screen.keys("Escape", "gp")
    screen.see(r"── @parse.lua:1-2 \(selection, 2 lines\)")
    screen.see(r"local b = 2")
    screen.keys("q")
    screen.see_not(r"── @parse.lua")
    screen.keys("C-s")
    screen.see_not(r"Message to Explain")
    calls = 'vim.json.encode(vim.tbl_filter(function(call) return call.method == "run/send" end, _G.calls or {}))'
    screen.lua('require("loomd.server").request("fake/calls", {}, function(_, result) _G.calls = result.calls end) and 1')
    screen.until("the blocks", lambda: "resource_link" in screen.lua(calls) and "local b = 2" in screen.lua(calls))


@scenario(fake=SAMPLE_RUNS, lines=26)
def list_of_many(screen, pictures):
    """The list is filtered while it is typed and completed, grouped, and runs are selected."""
    screen.open()
    screen.keys(":Loomd", "Enter")
    screen.see(r"Finished")
    screen.keys("f", "agent:cl", "Tab")
    screen.see(r"Filter .*: agent:claude")
    screen.keys("Enter")
    screen.see(r"filter: agent:claude \(F: clear\)")
    screen.see_not(r"nightly build")
    screen.keys("F")
    screen.see(r"nightly build")
    screen.keys("gb")
    screen.see_not(r"Finished")
    screen.see(r"^ ~/parser")
    screen.keys("G", "m")
    screen.see(r"1 run selected")
    screen.keys("u")
    screen.see_not(r"selected")


@scenario()
def server_control(screen, pictures):
    """A server that is killed is restarted; :Loomd restart restarts it, and :Loomd log opens its log."""
    screen.open()
    screen.keys(":Loomd start command sleep 1000", "Enter", ":Loomd", "Enter")
    screen.see(r"▶ running +command +sleep 1000")
    servers = subprocess.run(["pgrep", "-f", "--", "%s --log-file %s" % (BINARY, screen.home)], capture_output=True, text=True).stdout.split()
    screen.check("there is not one server but %s" % servers, len(servers) == 1)
    os.kill(int(servers[0]), signal.SIGKILL)
    again = ["pgrep", "-f", "--", "%s --log-file %s" % (BINARY, screen.home)]
    screen.until("another server", lambda: subprocess.run(again, capture_output=True, text=True).stdout.split() not in ([], servers))
    screen.see(r"0 waiting · 1 running")
    screen.keys(":Loomd restart", "Enter")
    screen.see(r"Server restarted")
    screen.see(r"0 waiting · 1 running")
    screen.keys("x")
    screen.see(r"■ cancelled +command +sleep 1000")
    screen.keys(":Loomd log", "Enter")
    screen.until("the log", lambda: screen.remote("expand('%:t')") == "loomd.log")


HOSTS = """
vim.env.PATH = %r .. ":" .. vim.env.PATH
vim.env.LOOMD_TEST_HOSTS = vim.env.HOME .. "/hosts"
vim.env.LOOMD_BIN = %r
""" % (os.path.join(HERE, "hosts"), BINARY)


@scenario(lines=26, options="hosts = { 'build', 'ann@far.example.org', 'asleep' }", more=HOSTS)
def hosts(screen, pictures):
    """Hosts are groups after this computer's runs; a run starts on one, and what is not there says why."""
    for name in ("build", "ann@far.example.org", "asleep"):
        os.makedirs(os.path.join(screen.home, "hosts", name))
    with open(os.path.join(screen.home, "hosts", "build", "banner"), "w") as banner:
        banner.write("Welcome to build. Be kind.\n")
    refused = "ssh: connect to host far.example.org port 22: Connection refused\n"
    gone = os.path.join(screen.home, "hosts", "ann@far.example.org", "gone")
    with open(gone, "w") as file:
        file.write(refused)
    open(os.path.join(screen.home, "hosts", "asleep", "hang"), "w").close()
    screen.open()
    screen.keys(":Loomd start command sh -c 'echo building; exec sleep 1000'", "Enter", ":Loomd", "Enter")
    screen.see(r"▶ running +command +sh -c .* [0-9a-f]{8}")
    screen.see(r"^ ann@far\.example\.org · not connected · <CR>: connect again\n +ssh: connect to host far\.example\.org port 22: Connection refused")
    screen.see(r"^ asleep · connecting …")
    screen.keys("n")
    screen.see(r"1: This computer\n2: build")
    screen.keys("2", "Enter")
    screen.see(r"New run on build:")
    screen.keys("1", "Enter")
    screen.see(r"Command: ")
    screen.keys("C-u", "echo far away; pwd; exec sleep 1000", "Enter")
    screen.see(r"Directory on build \(empty: home\):")
    screen.keys("Enter")
    screen.see(r"^ build\n.*▶ running +command +echo far away; pwd; .* build/[0-9a-f]{8}")
    screen.picture(pictures, "hosts")
    screen.keys("/far away", "Enter")
    screen.keys("Enter")
    screen.see(r"^far away")
    screen.see(r"running +echo far away.* build/[0-9a-f]{8} +g\?: help")
    screen.keys("q", ":Loomd", "Enter", "x")
    screen.see(r"■ cancelled +command +echo far away")
    os.remove(gone)
    screen.keys("gg", "/ann@", "Enter", "Enter")
    screen.see_not(r"not connected")
    screen.see(r"^ ann@far\.example\.org\n")


@scenario(fake=SAMPLE_RUNS, lines=26, more="vim.o.background = 'light'")
def themes(screen, pictures):
    """Every state is a word with any colors and without colors; the colors are those of the color scheme."""
    screen.open()
    screen.keys(":Loomd", "Enter")
    for word in ("waiting", "running", "idle", "failed", "succeeded"):
        screen.see(r"\b%s\b" % word)
    screen.see(r"Finished")
    screen.picture(pictures, "light")
    screen.keys(":colorscheme quiet", "Enter", ":set notermguicolors", "Enter")
    screen.until("the other theme", lambda: screen.remote("g:colors_name") == "quiet")
    for word in ("waiting", "running", "idle", "failed", "succeeded"):
        screen.see(r"\b%s\b" % word)
    screen.check("the link is gone", screen.remote("hlID('LoomdWaiting') && synIDtrans(hlID('LoomdWaiting')) == synIDtrans(hlID('DiagnosticWarn'))") == "1")


@scenario(fake=SAMPLE_RUNS, columns=80)
def unobtrusive(screen, pictures):
    """The user types while runs write, need input and end: the text arrives, windows and focus stay, and there is no
    hit-enter prompt."""

    def push(entry):
        run = "01990000-0000-7000-8000-0000e0319c44"
        screen.lua('require("loomd.server").request("fake/push", { entry = { runId = "%s", %s } }) and 1' % (run, entry))

    screen.open("notes.txt")
    screen.keys("i", "before ")
    screen.lua('require("loomd").connect()')
    # In insert mode a message is visible only until Neovim shows the mode again.
    messages = lambda: screen.remote("execute('messages')")
    screen.until("the permission request", lambda: "codex wants to run: rm -rf build && make test  (:Loomd next)" in messages())
    for number in range(20):
        item = 'runId = "01990000-0000-7000-8000-0000e0319c44", item = { kind = "message", role = "agent", text = "noise %d" }' % number
        screen.lua('require("loomd.server").request("fake/item", { %s }) and 1' % item)
    # Two requests at once, each longer than the screen is wide.
    screen.lua('(function() require("loomd.store").tracked["01990000-0000-7000-8000-0000e0319c44"] = true return 1 end)()')
    for number in range(2):
        push('kind = "permission", permissionId = "q%d", status = "requested", toolCall = { toolCallId = "t", kind = "execute", title = "%s" }, options = {}' % (number, "long " * 60))
    screen.until("both permission requests", lambda: len(re.findall(r"claude wants to run: long .*… +\(:Loomd next\)", messages())) == 2)
    push('kind = "state", state = "succeeded", turn = 1')
    screen.until("the end", lambda: re.search(r"Rename Token to Lexeme .* succeeded in", messages()))
    screen.check("there is a hit-enter prompt", screen.remote("mode()") == "i")
    screen.keys("and after", "Escape")
    screen.see(r"^before and after")
    screen.check("a window was opened", screen.remote("winnr('$')") == "1")
    screen.check("the focus moved", screen.remote("expand('%:t')") == "notes.txt")


@scenario()
def closed_and_opened(screen, pictures):
    """A run keeps going after :qa!, and the next Neovim shows it live."""
    screen.open()
    screen.keys(":Loomd! start command sh -c 'n=0; while :; do n=$((n+1)); echo tick $n; sleep 0.05; done'", "Enter")
    screen.see(r"tick 5\b")
    screen.keys(":qa!", "Enter")
    screen.until("the end of Neovim", lambda: screen.tmux("display-message", "-p", "-t", "s", "#{pane_dead}").stdout.strip() == "1")
    screen.open()
    screen.keys(":Loomd", "Enter")
    screen.see(r"▶ running +command .*tick \d+")
    screen.keys("Enter")
    first = int(screen.see(r"tick (\d+)").group(1))
    screen.until("more of it", lambda: re.search(r"tick %d\b" % (first + 60), screen.text()))
    screen.keys("x")
    screen.see(r"cancelled")


def agent_is_there(agent):
    cache = os.environ.get("LOOMD_AGENTS") or os.path.join(os.path.expanduser("~"), ".cache/loomd/agents")
    return os.path.exists(os.path.join(cache, "bin", agent))


def with_a_real_agent(screen, prompt, action, request, heading, done, ready):
    """A turn with a permission request, a follow-up, and the same session in the agent's own program."""
    screen.open()
    screen.keys(":Loomd! start %s %s" % (screen.agent, prompt), "Enter")
    screen.see(r"● Permission: %s \(K\)" % request)
    screen.keys("K")
    screen.see(r"%s wants to %s" % (screen.agent, action))
    screen.see(ARMED)
    screen.keys("a")
    screen.see(r"▸ ✓ %s · completed" % heading)
    screen.see(r"^%s" % done)
    screen.see(r"turn 1 · done")
    screen.keys("s")
    screen.see(r"Message to ")
    screen.keys("and now fake:hello", "C-s")
    screen.see(r"^Hello from the model of the tests: naïve ✓\.")
    screen.see(r"turn 2 · done")
    # The run is idle, not over, so ending it is confirmed.
    screen.keys("T")
    screen.see(r"End .* here and continue in a terminal\?")
    screen.keys("2", "Enter")
    screen.until("the terminal", lambda: screen.remote("mode()") == "t")
    screen.see(ready)
    screen.keys("C-\\", "C-n", ":Loomd", "Enter")
    screen.see(r"■ cancelled +%s .*continued in terminal" % screen.agent)


@scenario(agent="claude", lines=40, columns=120)
def real_claude(screen, pictures):
    with_a_real_agent(screen, "Write it, fake:edit", "edit", "edit: Write fake.txt", "edit: Write fake.txt", "The file is written.", r"^❯")
    with open(os.path.join(screen.work, "fake.txt")) as file:
        screen.check("the file is not what was allowed", file.read() == "one\ntwo\n")


@scenario(agent="codex", lines=40, columns=120)
def real_codex(screen, pictures):
    with_a_real_agent(screen, "Do it, fake:approval", "run", "run: .*touch approved.txt.*", "run: .*touch approved.txt.*", "The command has run.", r"^› ")
    screen.check("the command did not run", os.path.exists(os.path.join(screen.work, "approved.txt")))


def main():
    arguments = sys.argv[1:]
    nvim, pictures, names = arguments.pop(0), None, []
    while arguments:
        word = arguments.pop(0)
        if word == "--pictures":
            pictures = arguments.pop(0)
        else:
            names.append(word)
    failed = 0
    for name, function, options in SCENARIOS:
        if names and name not in names:
            continue
        if options.get("agent") and not agent_is_there(options["agent"]):
            print("%s: skipped, %s is not installed; tests/agents/setup installs it" % (name, options["agent"]), flush=True)
            continue
        screen = Screen(nvim, **options)
        try:
            function(screen, pictures)
            print("ok", name, flush=True)
        except Exception as problem:  # the next scenario has a screen of its own
            failed += 1
            print("not ok", name, "\n   ", str(problem).replace("\n", "\n    "), flush=True)
        finally:
            screen.close()
    sys.exit(1 if failed else 0)


main()
