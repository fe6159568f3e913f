-- Files with what runs wrote and what the user typed. Only the user can read them, and copies of a run go with it.

local server = require("loomd.server")
local store = require("loomd.store")

local M = {}

-- So many copies are looked after when a server is there; the others wait for the next time.
local max_requests = 100

local function folder()
  return vim.fs.joinpath(vim.fn.stdpath("cache"), "loomd", "runs")
end

-- A run of a host has a folder beside the others: a comma is in no name of a host, and a slash in no name of a folder.
local function folder_name(run_id)
  return (run_id:gsub("/", ","))
end

-- Opens a new file for writing, in a folder of the user's own; a file or link of that name is replaced.
---@param path string
---@return file*? file
---@return string? problem
function M.create(path)
  vim.fn.mkdir(vim.fs.dirname(path), "p", tonumber("700", 8))
  vim.uv.fs_unlink(path)
  local descriptor, problem = vim.uv.fs_open(path, "wx", tonumber("600", 8))
  if not descriptor then
    return nil, problem
  end
  vim.uv.fs_close(descriptor)
  return io.open(path, "wb")
end

-- The table that a JSON file holds; nil if there is none.
---@param path string
---@return table?
function M.read_json(path)
  local file = io.open(path, "rb")
  local ok, value = pcall(vim.json.decode, file and file:read("*a") or "")
  if file then
    file:close()
  end
  return ok and type(value) == "table" and value or nil
end

-- Writes a file whole or not at all: another Neovim may read it meanwhile.
---@param path string
---@param text string
---@return string? problem
function M.write(path, text)
  local new = ("%s.%d"):format(path, vim.fn.getpid())
  local file, problem = M.create(new)
  if not file then
    return problem
  end
  local is_written = file:write(text) and file:close()
  if is_written then
    return select(2, vim.uv.fs_rename(new, path))
  end
  vim.uv.fs_unlink(new)
  return "could not write " .. path
end

-- Where a copy of a run is, of that name.
---@param run_id string
---@param name string
function M.path(run_id, name)
  return vim.fs.joinpath(folder(), folder_name(run_id), name)
end

local function remove(run_id)
  local name = folder_name(run_id)
  if name:find("^[%x-]+$") or name:find("^%w[%w%._@-]*,[%x-]+$") then
    vim.fn.delete(vim.fs.joinpath(folder(), name), "rf")
  end
end

-- Removes the copies of runs that were deleted while no Neovim was there to see it, and those of earlier versions.
local function remove_old()
  local old = vim.fs.dirname(folder())
  for name, kind in vim.fs.dir(old) do
    if kind == "file" and name:find("^%x%x%x%x%x%x%x%x%.%a+$") then
      vim.uv.fs_unlink(vim.fs.joinpath(old, name))
    end
  end
  local requests = 0
  for name in vim.fs.dir(folder()) do
    local id = name:gsub(",", "/")
    if not store.runs[id] and requests < max_requests then
      requests = requests + 1
      server.request("run/get", { runId = id }, function(failure)
        local kind = failure and failure.data and failure.data.kind
        if kind == "runNotFound" or kind == "invalidParams" then
          remove(id)
        end
      end)
    end
  end
end

function M.start()
  store.subscribe("runs", function(id, run)
    if not run then
      remove(id)
    end
  end)
  store.subscribe("server", function(state)
    if state == "ready" then
      remove_old()
    end
  end)
  store.subscribe("host", function(_, state)
    if state == "ready" and server.state == "ready" then
      remove_old()
    end
  end)
end

return M
