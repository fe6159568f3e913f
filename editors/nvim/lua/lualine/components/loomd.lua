-- A component of lualine: `lualine_x = { "loomd" }`. It starts no server.

return function()
  return require("loomd").status()
end
