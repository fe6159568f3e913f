// What a program wrote for a terminal, as the text that a terminal would show in the end.

/** Everything that a terminal obeys: strings up to their end (title, clipboard, device control), CSI, and shorter sequences. */
const SEQUENCES = /(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)|(?:\x1b\[|\x9b)([0-9:;<=>?]*)[ -/]*([@-~])|\x1b[ -/]*[0-~]|\x1b$/g;

/** The colors and attributes that hold, each as the parameters that set it. */
type Style = ReadonlyMap<string, string>;

/** A character of a line, and the colors that hold for it. */
interface Cell {
  char: string;
  style: Style;
}

const NO_STYLE: Style = new Map();

/**
 * The text without what a terminal obeys, but for colors. Backspaces, carriage returns and movements in a line overwrite it
 * as they do there.
 */
export function terminalText(text: string): string {
  const style = { value: NO_STYLE };
  return text
    .replace(/\r+\n/g, "\n")
    .split("\n")
    .map(line => terminalLine(line, style))
    .join("\n");
}

/** The text that a terminal would show, without colors. */
export const plainTerminalText = (text: string): string => terminalText(text).replace(/\x1b\[[0-9;]*m/g, "");

/** `style`: the colors that hold at the line's beginning, then those at its end. */
function terminalLine(line: string, style: { value: Style }): string {
  const start = style.value;
  let overwritten = /[\b\r]/.test(line);
  const clean = line.replace(SEQUENCES, (whole, params: string | undefined, command: string | undefined) => {
    if (command === "m") {
      const sequence = colorSequence(params ?? "");
      style.value = styleAfter(style.value, sequence);
      return sequence;
    }
    if (command === undefined || !/^[CDGKPX]$/.test(command) || !/^\d*$/.test(params ?? "")) return "";
    overwritten = true;
    return whole.startsWith("\x9b") ? `\x1b[${params}${command}` : whole;
  });
  return (overwritten ? overwrite(clean, start) : clean).replace(/[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]/g, "");
}

/** The parameters of colors in the form that everybody reads: `38:2::1:2:3` is `38;2;1;2;3`. A color of underlines is dropped. */
function colorSequence(params: string): string {
  if (!/^[0-9:;]*$/.test(params)) return "";
  const parts = params.split(";").flatMap(part => {
    const [kind = "", ...rest] = part.split(":");
    if (rest.length === 0) return [part];
    if (kind === "4") return [rest[0] === "0" ? "24" : "4"];
    if (kind !== "38" && kind !== "48") return [];
    const numbers = rest.filter(number => number !== "");
    // With a color space there is one number more than three.
    const wanted = numbers[0] === "2" ? [numbers[0], ...numbers.slice(-3)] : numbers.slice(0, 2);
    return [[kind, ...wanted].join(";")];
  });
  return parts.length === 0 ? "" : `\x1b[${parts.join(";")}m`;
}

/** The style after a sequence of colors. */
function styleAfter(style: Style, sequence: string): Style {
  let next = new Map(style);
  const codes = sequence.slice(2, -1).split(";");
  for (let at = 0; at < codes.length; at++) {
    const code = Number(codes[at]);
    if (code === 0) next = new Map();
    else if (code === 38 || code === 48) {
      const length = codes[at + 1] === "2" ? 5 : 3;
      next.set(code === 38 ? "color" : "background", codes.slice(at, at + length).join(";"));
      at += length - 1;
    } else if ((code >= 30 && code <= 39) || (code >= 90 && code <= 97)) next.set("color", `${code}`);
    else if ((code >= 40 && code <= 49) || (code >= 100 && code <= 107)) next.set("background", `${code}`);
    else if (code >= 1 && code <= 9) next.set(`${code}`, `${code}`);
    else if (code === 22) ["1", "2"].forEach(name => next.delete(name));
    else if (code >= 23 && code <= 29) next.delete(`${code - 20}`);
  }
  return next;
}

const styleSequence = (style: Style): string => (style.size === 0 ? "" : `\x1b[${[...style.values()].join(";")}m`);

function overwrite(line: string, start: Style): string {
  const cells: Cell[] = [];
  let [at, style] = [0, start];
  for (const [token, params, command] of line.matchAll(/\x1b\[([0-9;]*)([A-Za-z])|[^]/gu)) {
    const count = Math.min(Math.max(1, Number(params) || 1), 10_000);
    if (command === "m") style = styleAfter(style, token);
    else if (token === "\r") at = 0;
    else if (token === "\b" || command === "D") at = Math.max(0, at - count);
    else if (command === "C") at += count;
    else if (command === "G") at = count - 1;
    else if (command === "P") cells.splice(at, count);
    else if (command === "X") for (let cell = at; cell < Math.min(at + count, cells.length); cell++) cells[cell] = { char: " ", style };
    else if (command === "K") {
      if (params !== "1") cells.length = params === "2" ? 0 : Math.min(cells.length, at);
      else for (let cell = 0; cell <= at && cell < cells.length; cell++) cells[cell] = { char: " ", style };
    } else {
      while (cells.length < at) cells.push({ char: " ", style: NO_STYLE });
      cells[at++] = { char: token, style };
    }
  }
  let [shown, current] = ["", start];
  for (const { char, style: own } of [...cells, { char: "", style }]) {
    if (styleSequence(own) !== styleSequence(current)) shown += `\x1b[0m${styleSequence(own)}`;
    [shown, current] = [shown + char, own];
  }
  return shown;
}
