// Runs mocha inside of the extension host; VS Code calls `run` of the bundle and waits for it.
import Mocha from "mocha";

export async function runAll(suites: (() => Promise<unknown>)[]): Promise<void> {
  const mocha = new Mocha({ ui: "bdd", color: false, timeout: 90_000, ...(process.env["LOOMD_GREP"] ? { grep: process.env["LOOMD_GREP"] } : {}) });
  mocha.suite.emit("pre-require", globalThis, "", mocha);
  for (const load of suites) await load();
  await new Promise<void>((resolve, reject) => {
    mocha.run(failures => (failures > 0 ? reject(new Error(`${failures} tests failed`)) : resolve()));
  });
}
