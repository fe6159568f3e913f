// Runs mocha inside of the extension host. VS Code calls `run` of the bundle and waits for it. Results are appended to
// a file line by line.
import { appendFileSync } from "node:fs";
import Mocha from "mocha";

export async function runAll(suites: (() => Promise<unknown>)[]): Promise<void> {
  const results = process.env["LOOMD_RESULTS"] ?? "/dev/null";
  const write = (line: string) => appendFileSync(results, `${line}\n`);
  const mocha = new Mocha({ ui: "bdd", color: false, timeout: 400_000, retries: 1, reporter: class {} as never, ...(process.env["LOOMD_GREP"] ? { grep: process.env["LOOMD_GREP"] } : {}) });
  mocha.suite.emit("pre-require", globalThis, "", mocha);
  try {
    for (const load of suites) await load();
    await new Promise<void>((resolve, reject) => {
      const runner = mocha.run(failures => {
        write(`${runner.stats?.passes ?? 0} passed, ${failures} failed`);
        if (failures > 0) reject(new Error(`${failures} tests failed`));
        else resolve();
      });
      runner.on("suite", suite => suite.title && write(`  ${suite.title}`));
      runner.on("pass", test => write(`    ✔ ${test.title} (${test.duration} ms)`));
      runner.on("fail", (test, error) => write(`    ✘ ${test.fullTitle()}\n${String(error.stack ?? error).replace(/^/gm, "        ")}`));
    });
  } catch (error) {
    write(`stopped: ${error instanceof Error ? error.stack : String(error)}`);
    throw error;
  }
}
