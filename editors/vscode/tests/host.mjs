// Runs the tests of tests/host in the extension host of a real VS Code, prints their results and exits with their
// status.
import { createRequire } from "node:module";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

process.chdir(new URL("..", import.meta.url).pathname);
const { Workbench, until } = createRequire(import.meta.url)("./out/workbench.js");
const work = mkdtempSync(join(tmpdir(), "loomd-host-"));
const results = (process.env.LOOMD_RESULTS = join(work, "results"));
const read = () => {
  try {
    return readFileSync(results, "utf8");
  } catch {
    return "";
  }
};

const workbench = new Workbench();
let code = 1;
try {
  await workbench.start({ driver: true });
  const page = await (await workbench.context()).newPage();
  await page.exposeFunction("codeAutomationExit", () => {});
  await page.exposeFunction("codeAutomationLog", () => {});
  const at = path => `vscode-remote://${workbench.authority}${path}`;
  const payload = [["extensionDevelopmentPath", at(workbench.extension)], ["extensionTestsPath", at(join(process.cwd(), "tests/out/host.all.js"))]];
  await page.goto(`${workbench.address}&payload=${encodeURIComponent(JSON.stringify(payload))}`);
  await until("the tests have finished", () => /^(\d+ passed, \d+ failed|stopped: .*)$/m.test(read()), 1_200_000).catch(error => console.log(String(error)));
  console.log(read().trimEnd());
  code = /^\d+ passed, 0 failed$/m.test(read()) ? 0 : 1;
  if (workbench.otherHosts.size > 0) console.log(`requests to other hosts: ${[...workbench.otherHosts].join(" ")}`), (code = 1);
  if (code !== 0) {
    await page.screenshot({ path: "tests/out/host-failure.png" });
    console.log(workbench.logTail());
  }
} finally {
  await workbench.close();
  rmSync(work, { recursive: true, force: true });
}
process.exit(code);
