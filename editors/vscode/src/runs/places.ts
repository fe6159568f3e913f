// Finds places in files (`src/main.rs:12:5`, `File "a.py", line 3`, `main.c(4,2)`) in a line that a program printed.

export interface Place {
  path: string;
  line?: number;
  column?: number;
  /** Where in the line of text. */
  start: number;
  length: number;
}

const NAME = String.raw`(?:[A-Za-z]:[\\/])?(?:[\w.@+~-]+[\\/])*[\w.@+~-]*\.\w+|(?:[A-Za-z]:)?[\\/](?:[\w.@+~-]+[\\/])*[\w.@+~-]+`;
const FORMS = [
  // Python: File "name", line 3
  new RegExp(String.raw`File "(?<path>[^"]+)", line (?<line>\d+)`, "g"),
  // MSBuild, tsc: name(4,2)
  new RegExp(String.raw`(?<path>${NAME})\((?<line>\d+)(?:,(?<column>\d+))?\)`, "g"),
  // Everybody else: name:12:5, name:12, name
  new RegExp(String.raw`(?<path>${NAME})(?::(?<line>\d+)(?::(?<column>\d+))?)?`, "g"),
];

/** Longer lines are data, not messages. */
const LONGEST = 2_000;

export function placesIn(text: string): Place[] {
  if (text.length > LONGEST) return [];
  const found: Place[] = [];
  for (const form of FORMS) {
    for (const match of text.matchAll(form)) {
      const { path, line, column } = match.groups as { path: string; line?: string; column?: string };
      const place = { path, start: match.index, length: match[0].length, ...(line ? { line: Number(line) } : {}), ...(column ? { column: Number(column) } : {}) };
      const before = text[match.index - 1];
      if (before === "/" || before === ":") continue;
      if (!found.some(other => place.start < other.start + other.length && other.start < place.start + place.length)) found.push(place);
    }
  }
  return found.sort((a, b) => a.start - b.start);
}
