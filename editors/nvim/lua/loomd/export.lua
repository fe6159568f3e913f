-- Exports runs to files of this computer, wherever the runs are.

local format = require("loomd.format")
local notify = require("loomd.notify")
local run_id = require("loomd.run_id")
local server = require("loomd.server")

local M = {}

M.formats = { "markdown", "html", "text", "jsonl", "asciicast" }
local extensions = { markdown = "md", text = "txt", asciicast = "cast" }

---@param run loomd.Run
local function export_name(run, export_format)
  return ("%s.%s"):format((format.short_id(run.id):gsub("/", "-")), extensions[export_format] or export_format)
end

-- Writes the run to a file of this computer, wherever it is. What is not given is asked for.
---@param run loomd.Run
---@param export_format? string
---@param path? string
function M.to_file(run, export_format, path)
  if not export_format then
    return vim.ui.select(M.formats, { prompt = "Export as:" }, function(choice)
      if choice then
        M.to_file(run, choice)
      end
    end)
  elseif not path or path == "" then
    local name = export_name(run, export_format)
    return vim.ui.input({ prompt = "Export to: ", default = vim.fn.getcwd() .. "/" .. name, completion = "file" }, function(text)
      if text and text ~= "" then
        M.to_file(run, export_format, text)
      end
    end)
  end
  path = vim.fs.normalize(vim.fn.fnamemodify(path, ":p"))
  local function write()
    local is_elsewhere = run_id.host(run.id) ~= nil
    server.request("run/export", { runId = run.id, format = export_format, path = not is_elsewhere and path or nil }, function(failure, result)
      if failure then
        return notify.show(format.failure(failure, "Could not export the run"), vim.log.levels.ERROR)
      end
      local problem = is_elsewhere and require("loomd.private_file").write(path, result.content)
      if problem then
        return notify.show("Could not export the run: " .. problem, vim.log.levels.ERROR)
      end
      notify.show("Exported to " .. (result.path or path))
    end)
  end
  if not vim.uv.fs_stat(path) then
    return write()
  end
  vim.ui.select({ "Cancel", "Overwrite" }, { prompt = path .. " exists. Overwrite it?" }, function(choice)
    if choice == "Overwrite" then
      write()
    end
  end)
end

-- Writes several runs to a folder that the user names, one file each.
---@param runs loomd.Run[]
---@param done fun()
function M.to_folder(runs, done)
  vim.ui.select(M.formats, { prompt = ("Export %d runs as:"):format(#runs) }, function(export_format)
    if not export_format then
      return
    end
    vim.ui.input({ prompt = "Export to folder: ", default = vim.fn.getcwd(), completion = "dir" }, function(folder)
      if not folder or folder == "" then
        return
      end
      folder = vim.fs.normalize(vim.fn.fnamemodify(folder, ":p"))
      vim.fn.mkdir(folder, "p")
      for _, run in ipairs(runs) do
        M.to_file(run, export_format, vim.fs.joinpath(folder, export_name(run, export_format)))
      end
      done()
    end)
  end)
end

return M
