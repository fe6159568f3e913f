-- Writes the protocol's words as LuaCATS types: docs/protocol.schema.json in, lua/loomd/types.lua out.
--
--   nvim -l scripts/types.lua           writes the file
--   nvim -l scripts/types.lua --print   prints it (what tests/spec/types_spec.lua compares with the file)

local here = vim.fs.dirname(vim.fs.dirname(vim.fn.fnamemodify(debug.getinfo(1, "S").source:sub(2), ":p")))
local schema_path = vim.fs.joinpath(here, "..", "..", "docs", "protocol.schema.json")

---@param path string
---@return string
local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local schema = vim.json.decode(read(schema_path), { luanil = { object = true, array = true } })
local out = {}

local function say(...)
  out[#out + 1] = table.concat({ ... })
end

---@return string
local function named(ref)
  return "loomd." .. ref:match("[^/]+$")
end

local words = { integer = "integer", number = "number", string = "string", boolean = "boolean", object = "table<string, any>", ["null"] = nil }

-- The type of one value. `null` disappears: an absent member and a null one mean the same in this protocol.
---@return string
local function type_of(node)
  if node == true or node == nil then
    return "any"
  elseif node.const ~= nil then
    return ("%q"):format(node.const)
  elseif node["$ref"] then
    return named(node["$ref"])
  elseif node.enum then
    return table.concat(
      vim.tbl_map(function(word)
        return ("%q"):format(word)
      end, node.enum),
      "|"
    )
  end
  local choices = node.anyOf or node.oneOf
  if choices then
    local types = {}
    for _, choice in ipairs(choices) do
      local text = type_of(choice)
      if choice.type ~= "null" and not vim.tbl_contains(types, text) then
        types[#types + 1] = text
      end
    end
    return table.concat(types, "|")
  end
  local kinds = type(node.type) == "table" and node.type or { node.type }
  local types = {}
  for _, kind in ipairs(kinds) do
    if kind == "array" then
      local item = type_of(node.items)
      types[#types + 1] = (item:find("|", 1, true) and "(" .. item .. ")" or item) .. "[]"
    elseif kind == "object" and type(node.additionalProperties) == "table" then
      types[#types + 1] = "table<string, " .. type_of(node.additionalProperties) .. ">"
    elseif kind == "object" and node.properties and next(node.properties) then
      local members = {}
      for _, name in ipairs(vim.fn.sort(vim.tbl_keys(node.properties))) do
        local optional = not vim.tbl_contains(node.required or {}, name)
        members[#members + 1] = name .. (optional and "?" or "") .. ": " .. type_of(node.properties[name])
      end
      types[#types + 1] = "{ " .. table.concat(members, ", ") .. " }"
    elseif words[kind] then
      types[#types + 1] = words[kind]
    end
  end
  return #types > 0 and table.concat(types, "|") or "any"
end

local function comment(text)
  return ((text or ""):gsub("%s*\n%s*", " "))
end

local function fields(node, optional_all, seen)
  for _, name in ipairs(vim.fn.sort(vim.tbl_keys(node.properties or {}))) do
    if not seen[name] then
      seen[name] = true
      local optional = optional_all or not vim.tbl_contains(node.required or {}, name)
      local member = node.properties[name]
      local text = type(member) == "table" and comment(member.description) or ""
      say("---@field ", name, optional and "? " or " ", type_of(member), text ~= "" and " " .. text or "")
    end
  end
end

-- An object whose variants share members (an entry of kind `permission`) becomes one class; what only some variants have is optional.
local function class(name, node)
  say("---", comment(node.description))
  say("---@class loomd.", name)
  local seen = {}
  fields(node, false, seen)
  local shared = {}
  for _, variant in ipairs(node.oneOf or {}) do
    for member, value in pairs(variant.properties or {}) do
      shared[member] = shared[member] or {}
      table.insert(shared[member], value)
    end
  end
  for _, member in ipairs(vim.fn.sort(vim.tbl_keys(shared))) do
    if not seen[member] then
      local values = shared[member]
      local everywhere = #values == #node.oneOf
      local types = {}
      for _, value in ipairs(values) do
        local text = type_of(value)
        if not vim.tbl_contains(types, text) then
          types[#types + 1] = text
        end
      end
      table.sort(types)
      say("---@field ", member, everywhere and " " or "? ", table.concat(types, "|"), " ", comment(values[1].description))
    end
  end
  if name:find("Entry$") then
    say('---@field kind? "output"|"session"|"update"|"permission"|"state" Which kind of entry it is.')
  end
  say("")
end

say("---@meta")
say("-- The words of the loomd protocol, version ", tostring(schema.protocolVersion), ".")
say("-- Written by scripts/types.lua from docs/protocol.schema.json: change the schema and run the script again.")
say("")
for _, name in ipairs(vim.fn.sort(vim.tbl_keys(schema["$defs"]))) do
  local node = schema["$defs"][name]
  if node.type == "object" and (node.properties or node.oneOf) then
    class(name, node)
  else
    say("---", comment(node.description))
    say("---@alias loomd.", name, " ", type_of(node))
    say("")
  end
end

say("---The methods that the protocol names.")
local methods = vim.tbl_map(function(name)
  return ("%q"):format(name)
end, vim.fn.sort(vim.tbl_keys(schema.methods)))
say("---@alias loomd.Method ", table.concat(methods, "|"))

local text = table.concat(out, "\n"):gsub("[ \t]+\n", "\n") .. "\n"
if _G.arg and _G.arg[1] == "--print" then
  io.stdout:write(text)
else
  local file = assert(io.open(vim.fs.joinpath(here, "lua", "loomd", "types.lua"), "wb"))
  file:write(text)
  file:close()
end
