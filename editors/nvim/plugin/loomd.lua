-- The command and the <Plug> maps. Nothing is loaded before one of them is used, and no key is bound.

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
  desc = "runs of agents and commands",
  complete = function(lead, line, position)
    return require("loomd.command").complete(lead, line, position)
  end,
})

for name, command in pairs({
  runs = "",
  start = "start",
  output = "output",
  next = "next",
  approve = "approve",
  deny = "deny",
  cancel = "cancel",
  interrupt = "interrupt",
  rerun = "rerun",
  send = "send",
  steer = "steer",
  resume = "resume",
  takeover = "takeover",
  history = "history",
  search = "search",
  configure = "configure",
  diff = "diff",
  qf = "qf",
  rules = "rules",
}) do
  vim.keymap.set("n", ("<Plug>(loomd-%s)"):format(name), ("<Cmd>Loomd %s<CR>"):format(command), { desc = "loomd: " .. (command == "" and "runs" or command) })
end

-- Who wants to hear of questions at once says so; everybody else pays nothing at startup.
if type(vim.g.loomd) == "table" and vim.g.loomd.autostart then
  vim.schedule(function()
    require("loomd").connect()
  end)
end
