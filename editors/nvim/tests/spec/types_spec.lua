-- Generated types, the help file, and the structure of the plugin.

local support = require("support")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

describe("lua/loomd/types.lua", function()
  it("is generated from docs/protocol.schema.json: run `nvim -l editors/nvim/scripts/types.lua`", function()
    local printed = vim.system({ vim.v.progpath, "-u", "NONE", "-i", "NONE", "-l", support.plugin .. "/scripts/types.lua", "--print" }):wait()
    assert.equal(0, printed.code, printed.stderr)
    assert.is_true(printed.stdout == read(support.plugin .. "/lua/loomd/types.lua"), "lua/loomd/types.lua is stale")
  end)
end)

describe("the help file", function()
  local help = read(support.plugin .. "/doc/loomd.txt")

  it("has a tag for every subcommand, every option and every <Plug> mapping", function()
    local function has(tag)
      assert.is_truthy(help:find("*" .. tag .. "*", 1, true), "doc/loomd.txt has no tag *" .. tag .. "*")
    end
    for name in pairs(require("loomd.command").subcommands) do
      has(":Loomd-" .. name)
    end
    local config = require("loomd.config")
    for name in pairs(config.defaults) do
      has("loomd-option-" .. name)
    end
    for _, name in ipairs({ "cmd", "rules_file" }) do
      has("loomd-option-" .. name)
    end
    for _, map in ipairs(vim.api.nvim_get_keymap("n")) do
      if map.lhs:find("^<Plug>%(loomd") then
        has(map.lhs)
      end
    end
    for _, event in ipairs({ "LoomdRunState", "LoomdPermission" }) do
      has(event)
    end
  end)

  it("names every key of the views", function()
    for _, key in ipairs(require("loomd.keys").run_keys) do
      assert.is_truthy(help:find("\n    " .. key.key .. " ", 1, true), "doc/loomd.txt does not name the key " .. key.key)
    end
  end)

  it("is found by :help, every tag once", function()
    local folder = vim.fn.tempname()
    vim.fn.mkdir(folder .. "/doc", "p")
    vim.fn.writefile(vim.split(help, "\n"), folder .. "/doc/loomd.txt")
    vim.cmd.helptags(folder .. "/doc")
    vim.opt.runtimepath:append(folder)
    vim.cmd.help("loomd")
    assert.equal("loomd.txt", vim.fn.fnamemodify(vim.api.nvim_buf_get_name(0), ":t"))
    vim.cmd.helpclose()
    for line in help:gmatch("[^\n]+") do
      assert.is_true(vim.fn.strdisplaywidth(line) <= 78, line)
    end
  end)
end)

describe("the plugin", function()
  it("loads nothing until it is used", function()
    local code = ([[
      vim.opt.runtimepath:prepend(%q)
      vim.cmd.source(%q)
      for name in pairs(package.loaded) do
        if name:find("^loomd") then io.stdout:write(name, " ") end
      end
    ]]):format(support.plugin, support.plugin .. "/plugin/loomd.lua")
    local file = vim.fn.tempname() .. ".lua"
    vim.fn.writefile(vim.split(code, "\n"), file)
    local out = vim.system({ vim.v.progpath, "-u", "NONE", "-i", "NONE", "-l", file }):wait()
    assert.equal("", out.stdout)
    assert.equal(0, out.code, out.stderr)
  end)

  it("keeps vim.lsp.rpc behind one module", function()
    for _, path in ipairs(vim.fn.globpath(support.plugin .. "/lua", "**/*.lua", false, true)) do
      if not path:find("/rpc%.lua$") then
        for line in io.lines(path) do
          assert.is_falsy(line:gsub("%-%-.*", ""):find("vim%.lsp%.rpc"), path .. ": " .. line)
        end
      end
    end
  end)
end)
