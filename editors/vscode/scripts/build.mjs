// Bundles the extension and the page of its transcript into dist/.
//
//   node scripts/build.mjs            once, minified
//   node scripts/build.mjs --watch    again with every change
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { context } from "esbuild";

process.chdir(new URL("..", import.meta.url).pathname);
const watch = process.argv.includes("--watch");
rmSync("dist", { recursive: true, force: true });
mkdirSync("dist");
for (const file of ["codicon.css", "codicon.ttf"]) cpSync(`node_modules/@vscode/codicons/dist/${file}`, `dist/${file}`);
for (const file of ["LICENSE-MIT", "LICENSE-APACHE"]) cpSync(`../../${file}`, `dist/${file}`);
cpSync("src/webview/transcript.css", "dist/transcript.css");

const common = { bundle: true, minify: !watch, sourcemap: watch, legalComments: "linked", logLevel: "warning" };
const bundles = [
  { ...common, entryPoints: ["src/main.ts"], outfile: "dist/main.js", platform: "node", target: "node20", format: "cjs", external: ["vscode"] },
  { ...common, entryPoints: ["src/webview/main.ts"], outfile: "dist/transcript.js", platform: "browser", target: "chrome130", format: "iife" },
];
for (const bundle of bundles) {
  const made = await context(bundle);
  if (watch) await made.watch();
  else await made.rebuild().then(() => made.dispose());
}
