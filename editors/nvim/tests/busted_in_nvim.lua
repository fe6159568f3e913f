-- Runs the specs with busted inside this Neovim: nvim -u NONE -i NONE -l tests/busted_in_nvim.lua tests/spec [options
-- of busted]
--
-- `busted` with nlua runs the same files elsewhere, since no spec depends on this file.

package.path = "/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua;" .. package.path
for _, folder in ipairs(vim.fn.glob("/usr/lib/*-linux-gnu/lua/5.1", false, true)) do
  package.cpath = folder .. "/?.so;" .. package.cpath
end
local plugin = vim.fs.dirname(vim.fs.dirname(vim.fn.fnamemodify(debug.getinfo(1, "S").source:sub(2), ":p")))
package.path = plugin .. "/tests/?.lua;" .. package.path
vim.opt.runtimepath:prepend(plugin)
vim.o.swapfile = false
vim.o.hidden = true
vim.o.showmode = false
vim.o.shortmess = vim.o.shortmess .. "F"
vim.cmd.source(plugin .. "/plugin/loomd.lua")
require("busted.runner")({ standalone = false })
