-- :checkhealth loomd reports what was found, whether the versions match, and what to do about problems.

local M = {}

local function report_versions()
  vim.health.start("loomd: editor")
  local version = vim.version()
  local text = ("Neovim %d.%d.%d"):format(version.major, version.minor, version.patch)
  if vim.fn.has("nvim-0.10") == 1 then
    vim.health.ok(text)
  else
    vim.health.error(text, { "loomd.nvim needs Neovim 0.10 or newer" })
  end
  local parsers = pcall(vim.treesitter.language.add, "markdown")
  if parsers then
    vim.health.ok("markdown parser found")
  else
    vim.health.info("markdown parser not found: transcripts use the regular markdown syntax")
  end
end

local function report_options()
  local problems = require("loomd.config").problems()
  for _, problem in ipairs(problems) do
    vim.health.warn(problem)
  end
  if #problems == 0 then
    vim.health.ok("vim.g.loomd is valid")
  end
end

local function report_server()
  vim.health.start("loomd: server")
  local argv, problem = require("loomd.config").argv()
  if not argv then
    vim.health.error(problem, { "Run `cargo install --path .` in loomd's repository", "or set vim.g.loomd = { cmd = '/path/to/loomd' }" })
    return
  end
  vim.health.ok("executable: " .. argv[1])
  require("loomd").initialize()
  local server = require("loomd.server")
  local failure, done
  server.when_ready(function(result)
    failure, done = result, true
  end)
  vim.wait(10000, function()
    return done
  end, 10)
  if not done then
    vim.health.error("server did not respond within 10 s", { "Open the log with :Loomd log" })
    return
  elseif failure then
    vim.health.error(failure.message, { "Open the log with :Loomd log", "Run `loomd doctor`" })
    return
  end
  local info = server.info --[[@as loomd.InitializeResult]]
  vim.health.ok(("version %s, protocol %d"):format(info.serverInfo.version, info.protocolVersion))
  vim.health.ok("store: " .. info.storePath)
  vim.health.info("log: " .. server.log_path())

  local _, problem = require("loomd.tasks").templates()
  if problem then
    vim.health.warn(problem)
  end

  vim.health.start("loomd: providers")
  local providers
  server.request("provider/list", nil, function(_, result)
    providers = result and result.providers or info.providers
  end)
  vim.wait(20000, function()
    return providers ~= nil
  end, 10)
  for _, provider in ipairs(providers or info.providers) do
    local version = provider.version and (" " .. provider.version) or ""
    if provider.available then
      vim.health.ok(provider.id .. version .. (provider.program and (": " .. provider.program) or ""))
    else
      vim.health.info(("%s is not available: %s"):format(provider.id, provider.reason or "no reason given"))
    end
  end
end

local function report_hosts()
  local names = require("loomd.config").hosts()
  if #names == 0 then
    return
  end
  vim.health.start("loomd: hosts")
  if vim.fn.executable("ssh") == 0 then
    return vim.health.error("ssh not found on PATH")
  end
  local hosts = require("loomd.hosts")
  hosts.start()
  vim.wait(10000, function()
    return vim.iter(hosts.list()):all(function(host)
      return host.state ~= "connecting"
    end)
  end, 10)
  for _, host in ipairs(hosts.list()) do
    if host.state == "ready" then
      vim.health.ok(("%s: version %s"):format(host.name, host.info.serverInfo.version))
    else
      vim.health.warn(("%s: %s"):format(host.name, host.problem or "no answer yet"), { ("Run `ssh -T -- %s loomd --version`"):format(host.name), ":Loomd connect connects again" })
    end
  end
end

function M.check()
  report_versions()
  report_options()
  report_server()
  report_hosts()
end

return M
