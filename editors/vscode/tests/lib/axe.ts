// Checks a page against axe's accessibility rules: names, roles, contrast and others.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Frame, Page } from "playwright-core";

interface Axe {
  run(): Promise<{ violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[] }>;
}

export async function accessibilityViolations(page: Page | Frame): Promise<string[]> {
  await page.evaluate(readFileSync(join(process.cwd(), "node_modules/axe-core/axe.min.js"), "utf8"));
  return page.evaluate(async () => {
    const { violations } = await (window as unknown as { axe: Axe }).axe.run();
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html.slice(0, 200)}\n   ${failureSummary ?? ""}`).join("\n   ")}`);
  });
}
