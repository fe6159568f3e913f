// Finds the loomd executable: the one that the setting names, else the bundled one, else the first on PATH. Nothing in
// a workspace is used.
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";
import { Failure } from "./failure";

export interface LocateOptions {
  /** The setting `loomd.path`; empty if it is not set. */
  setting: string;
  /** The extension's own folder. */
  extension: string;
  /** The environment's PATH. */
  path: string;
  windows?: boolean;
}

export interface LocatedProgram {
  program: string;
  from: "setting" | "extension" | "path";
}

export async function locate({ setting, extension, path, windows = process.platform === "win32" }: LocateOptions): Promise<LocatedProgram> {
  const name = windows ? "loomd.exe" : "loomd";
  if (setting !== "") {
    const program = setting.replace(/^~(?=[/\\])/, homedir());
    // A relative path would be resolved against the workspace, so the repository would choose the program.
    if (!isAbsolute(program)) throw new Failure("missing", `loomd.path: "${setting}" is not an absolute path.`);
    if (await isExecutable(program)) return { program, from: "setting" };
    throw new Failure("missing", `loomd.path: ${program} is not an executable.`);
  }
  const bundled = join(extension, "bin", name);
  if (await isExecutable(bundled)) return { program: bundled, from: "extension" };
  const program = await findProgram(name, path);
  if (program !== undefined) return { program, from: "path" };
  throw new Failure("missing", "loomd not found. Install it or set loomd.path.");
}

/** The first program of that name in `path`, the environment's PATH. */
export async function findProgram(name: string, path: string): Promise<string | undefined> {
  for (const folder of path.split(delimiter)) {
    if (isAbsolute(folder) && (await isExecutable(join(folder, name)))) return join(folder, name);
  }
  return undefined;
}

async function isExecutable(program: string): Promise<boolean> {
  try {
    await access(program, constants.X_OK);
    return (await stat(program)).isFile();
  } catch {
    return false;
  }
}
