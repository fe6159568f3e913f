-- The vocabulary of the plugin: names that the code no longer uses, and phrases that no text contains.

local support = require("support")

-- Names of functions, fields, variables and modules that have a better one: `subscribe` and `emit` instead of `hear` and
-- `tell`, `format` instead of `words`, and so on.
local old_names = {
  "hear", "hears", "heard", "hearer", "hearers", "tell", "told", "said", "asked", "asks", "say", "words", "paint", "paints", "painter",
  "picture", "keeper", "born", "birth", "births", "settle", "verdict", "news", "phrases", "talk", "hands", "manner", "wish", "deed",
  "sight", "in_sight", "look", "looker", "skim", "patience", "patience_ms", "most", "pile", "slice", "dress", "last_words", "left_out",
  "story", "strand", "pen", "paper", "trouble", "begun", "greet", "give_up", "inquire", "inquiry",
}

-- What the user read before.
local old_phrases = {
  "May it do this", "May it run this", "May it change this", "A word to the agent", "Say what is next", "ready for more", "Waved away",
  "Waiting for you", "asks to ", "waits for you", "not now", "taken over in a terminal", "go on with", "goes on with",
}

-- Yields every identifier of a Lua source with its line, without those in comments and strings.
local function identifiers(text)
  local code = text
    :gsub("%-%-[^\n]*", "")
    :gsub("%[%[.-%]%]", function(long)
      return (long:gsub("[^\n]", ""))
    end)
    :gsub('\\.', "")
    :gsub('"[^"\n]*"', '""')
    :gsub("'[^'\n]*'", "''")
  local found, line = {}, 1
  for row in (code .. "\n"):gmatch("([^\n]*)\n") do
    for name in row:gmatch("[%a_][%w_]*") do
      found[#found + 1] = { name = name, line = line }
    end
    line = line + 1
  end
  return found
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- The files below a folder of the plugin, without the generated types.
local function files(folder, pattern)
  local paths = vim.fn.globpath(support.plugin .. "/" .. folder, pattern, false, true)
  return vim.tbl_filter(function(path)
    return vim.fn.isdirectory(path) == 0 and not vim.endswith(path, "/lua/loomd/types.lua") and not vim.endswith(path, "/vocabulary_spec.lua")
  end, paths)
end

-- Where old names occur as identifiers or as module names.
local function find_old_names(path, text)
  local old, found = {}, {}
  for _, name in ipairs(old_names) do
    old[name] = true
  end
  local module = vim.fn.fnamemodify(path, ":t:r")
  if old[module] then
    found[#found + 1] = ("%s: the module is named %s"):format(path, module)
  end
  for _, each in ipairs(identifiers(text)) do
    if old[each.name:lower()] then
      found[#found + 1] = ("%s:%d: %s"):format(path, each.line, each.name)
    end
  end
  return found
end

local function find_old_phrases(path, text)
  local found = {}
  for _, phrase in ipairs(old_phrases) do
    if text:lower():find(phrase:lower(), 1, true) then
      found[#found + 1] = ("%s: %q"):format(path, phrase)
    end
  end
  return found
end

describe("the vocabulary", function()
  it("keeps old names out of lua and plugin", function()
    local paths, found = vim.list_extend(files("lua", "**/*.lua"), files("plugin", "*.lua")), {}
    assert.is_true(#paths > 30, #paths .. " files")
    for _, path in ipairs(paths) do
      vim.list_extend(found, find_old_names(path, read(path)))
    end
    assert.same({}, found)
  end)

  it("keeps old phrases out of the whole plugin", function()
    local paths, found = {}, {}
    for _, folder in ipairs({ "lua", "plugin", "tests", "scripts" }) do
      vim.list_extend(paths, files(folder, "**/*"))
    end
    vim.list_extend(paths, files("", "README.md"))
    vim.list_extend(paths, files("doc", "*.txt"))
    for _, path in ipairs(paths) do
      vim.list_extend(found, find_old_phrases(path, read(path)))
    end
    assert.same({}, found)
  end)

  it("finds an old name in code, but not in a comment, a string or a longer name", function()
    assert.same({ "x.lua:2: hear" }, find_old_names("x.lua", "-- We hear.\nlocal hear = 1\n"))
    assert.same({ "x.lua:1: tell" }, find_old_names("x.lua", "store.tell('runs')"))
    assert.same({ "painter.lua: the module is named painter" }, find_old_names("painter.lua", ""))
    assert.same({}, find_old_names("x.lua", 'local storyteller = "told" .. [[\nheard\n]] -- said'))
    assert.same({ 'x.lua: "May it do this"' }, find_old_phrases("x.lua", 'add("may it do this? (edit)")'))
  end)
end)
