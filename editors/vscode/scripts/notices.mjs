// The licenses of the packages that a bundle has parts of.
import { readdirSync, readFileSync } from "node:fs";

export const SEPARATOR = `\n\n${"-".repeat(80)}\n\n`;

/** The packages that a bundle was made of, from esbuild's metafile. */
export const packagesOf = metafile => Object.keys(metafile.inputs).flatMap(input => /^.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []);

const read = path => readFileSync(path, "utf8").trim();

/** The text about these packages, under a title. */
export function notices(title, packages) {
  const texts = [...new Set(packages)].sort().map(name => {
    const folder = `node_modules/${name}`;
    const { version, license } = JSON.parse(read(`${folder}/package.json`));
    const texts = readdirSync(folder).filter(file => /^(licen[cs]e|notice)/i.test(file)).map(file => read(`${folder}/${file}`));
    return [`${name} ${version} (${license})`, ...texts].join("\n\n");
  });
  return `${[title, ...texts].join(SEPARATOR)}\n`;
}
