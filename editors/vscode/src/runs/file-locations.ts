// Finds file locations (`src/main.rs:12:5`, `File "a.py", line 3`, `main.c(4,2)`) in a line that a program printed.

export interface FileLocation {
  path: string;
  line?: number;
  column?: number;
  /** Index of the location within the line of text. */
  start: number;
  length: number;
}

const NAME = String.raw`(?:[A-Za-z]:[\\/])?(?:[\w.@+~-]+[\\/])*[\w.@+~-]*\.\w+|(?:[A-Za-z]:)?[\\/](?:[\w.@+~-]+[\\/])*[\w.@+~-]+`;
const PATTERNS = [
  // Python: File "name", line 3
  new RegExp(String.raw`File "(?<path>[^"]+)", line (?<line>\d+)`, "g"),
  // MSBuild, tsc: name(4,2)
  new RegExp(String.raw`(?<path>${NAME})\((?<line>\d+)(?:,(?<column>\d+))?\)`, "g"),
  // All others: name:12:5, name:12, name
  new RegExp(String.raw`(?<path>${NAME})(?::(?<line>\d+)(?::(?<column>\d+))?)?`, "g"),
];

/** Longer lines are data, not messages, and are not searched. */
const MAX_LINE_CHARS = 2_000;

export function findFileLocations(text: string): FileLocation[] {
  if (text.length > MAX_LINE_CHARS) return [];
  const found: FileLocation[] = [];
  for (const pattern of PATTERNS) {
    for (const match of text.matchAll(pattern)) {
      const { path, line, column } = match.groups as { path: string; line?: string; column?: string };
      const location = { path, start: match.index, length: match[0].length, ...(line ? { line: Number(line) } : {}), ...(column ? { column: Number(column) } : {}) };
      const before = text[match.index - 1];
      if (before === "/" || before === ":") continue;
      if (!found.some(other => location.start < other.start + other.length && other.start < location.start + location.length)) found.push(location);
    }
  }
  return found.sort((a, b) => a.start - b.start);
}
