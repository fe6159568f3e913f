// Finds the loomd program: what the setting names, else the one inside the extension, else PATH. A workspace has no say in it.
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, isAbsolute, join } from "node:path";
import { Failure } from "./failure";

export interface Places {
  /** The setting `loomd.path`; empty where it is not set. */
  setting: string;
  /** The extension's own folder. */
  extension: string;
  /** The environment's PATH. */
  path: string;
  windows?: boolean;
}

export interface Found {
  program: string;
  from: "setting" | "extension" | "path";
}

export async function locate({ setting, extension, path, windows = process.platform === "win32" }: Places): Promise<Found> {
  const name = windows ? "loomd.exe" : "loomd";
  if (setting !== "") {
    const program = setting.replace(/^~(?=[/\\])/, homedir());
    // A relative path would be found from the workspace, and then the repository chose the program.
    if (!isAbsolute(program)) throw new Failure("missing", `The setting loomd.path has to be an absolute path; it is “${setting}”.`);
    if (await executable(program)) return { program, from: "setting" };
    throw new Failure("missing", `The setting loomd.path names ${program}, which is not a program.`);
  }
  const bundled = join(extension, "bin", name);
  if (await executable(bundled)) return { program: bundled, from: "extension" };
  for (const folder of path.split(delimiter)) {
    if (isAbsolute(folder) && (await executable(join(folder, name)))) return { program: join(folder, name), from: "path" };
  }
  throw new Failure("missing", "loomd is not on PATH. Install it, or name the program in the setting loomd.path.");
}

async function executable(program: string): Promise<boolean> {
  try {
    await access(program, constants.X_OK);
    return (await stat(program)).isFile();
  } catch {
    return false;
  }
}
