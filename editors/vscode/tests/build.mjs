// Bundles the tests into tests/out/.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

process.chdir(new URL("..", import.meta.url).pathname);
rmSync("tests/out", { recursive: true, force: true });
mkdirSync("tests/out", { recursive: true });
const files = folder => readdirSync(`tests/${folder}`).filter(name => name.endsWith(".test.ts")).sort();
for (const folder of ["unit", "page", "screen", "web"]) writeFileSync(`tests/out/${folder}.all.ts`, files(folder).map(name => `import "../${folder}/${name}";\n`).join(""));
// In the extension host mocha has to be set up before the test files are loaded.
writeFileSync("tests/out/host.all.ts", `import { runAll } from "../host/run";\nexport const run = () => runAll([${files("host").map(name => `() => import("../host/${name}")`).join(", ")}]);\n`);
const common = { bundle: true, platform: "node", target: "node20", format: "cjs", sourcemap: "inline", logLevel: "warning" };
await build({ ...common, entryPoints: ["unit", "page", "screen", "web"].map(folder => `tests/out/${folder}.all.ts`), outdir: "tests/out", external: ["mocha", "playwright-core", "esbuild"] });
await build({ ...common, entryPoints: ["tests/out/host.all.ts"], outdir: "tests/out", external: ["vscode", "mocha"] });
// The workbench, for host.mjs, which is not bundled itself.
writeFileSync("tests/out/workbench.lib.ts", 'export { Workbench } from "../lib/workbench";\nexport { until } from "../lib/environment";\n');
await build({ ...common, entryPoints: { workbench: "tests/out/workbench.lib.ts" }, outdir: "tests/out", external: ["playwright-core"] });
