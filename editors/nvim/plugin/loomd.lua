-- Defines the command :Loomd and the <Plug> mappings. Modules are loaded when one of them is used, and no key is
-- mapped.

if vim.g.loaded_loomd then
  return
end
vim.g.loaded_loomd = 1

if vim.fn.has("nvim-0.10") == 0 then
  vim.notify("loomd needs Neovim 0.10 or newer", vim.log.levels.ERROR)
  return
end

vim.api.nvim_create_user_command("Loomd", function(call)
  require("loomd.command").run(call)
end, {
  nargs = "*",
  bang = true,
  range = true,
  desc = "Manage loomd runs",
  complete = function(lead, line, position)
    return require("loomd.command").complete(lead, line, position)
  end,
})

-- One for each subcommand; a spec compares them.
for name, desc in pairs({
  runs = "open the list of runs",
  start = "start a run",
  output = "open a run",
  next = "show the oldest pending permission request",
  approve = "allow the permission request",
  deny = "deny the permission request",
  cancel = "cancel a run",
  interrupt = "interrupt a run",
  rerun = "run again",
  send = "send a message",
  steer = "send to the running turn",
  queued = "edit or remove a queued message",
  resume = "resume a session",
  takeover = "continue in a terminal",
  history = "show all runs",
  search = "search output",
  configure = "change model, permissions and options",
  diff = "show changes",
  qf = "send errors to quickfix",
  rules = "list permission rules",
  worktree = "start a run in a git worktree",
  merge = "merge the branch of a run",
  discard = "remove the worktree of a run",
  rewind = "take back the changes from a turn on",
  pick = "pick a run and open it",
  whole = "full output or transcript in a buffer",
  closeinput = "close stdin",
  sessions = "resume a session of this directory",
  export = "export a run to a file",
  rename = "rename a run",
  pin = "pin a run",
  delete = "delete a run",
  copy = "copy a run ID",
  connect = "connect to hosts again",
  restart = "restart the server",
  stop = "stop the server",
  log = "open the log of the server",
  health = "check the health",
}) do
  local command = name == "runs" and "" or name
  vim.keymap.set("n", ("<Plug>(loomd-%s)"):format(name), ("<Cmd>Loomd %s<CR>"):format(command), { desc = "loomd: " .. desc })
end
for _, name in ipairs({ "send", "steer" }) do
  -- With `:`, the command gets the range of the selection.
  vim.keymap.set("x", ("<Plug>(loomd-%s)"):format(name), (":Loomd %s<CR>"):format(name), { silent = true, desc = "loomd: send the selection" })
end

-- Only `autostart` starts the server with Neovim; without it, startup costs nothing.
if type(vim.g.loomd) == "table" and vim.g.loomd.autostart then
  vim.schedule(function()
    require("loomd").connect()
  end)
end
