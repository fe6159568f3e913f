// Buffers text on its way to a terminal and hands it out in chunks. If text arrives faster than the terminal takes it,
// the buffer drops the middle and says so in the output. The run's log still has all of it.
import { formatBytes } from "./run";

/** Above this size the buffer drops its oldest text. */
export const MAX_BUFFERED_CHARS = 1_048_576;
/** How much of the newest text stays after a drop. */
const TAIL_CHARS = 262_144;
/** `next` returns at most this much, plus the note about dropped text. */
export const MAX_CHUNK_CHARS = 131_072;

export class OutputBuffer {
  private text = "";
  private droppedChars = 0;

  push(text: string): void {
    this.text += text;
    if (this.text.length <= MAX_BUFFERED_CHARS) return;
    let cut = this.text.length - TAIL_CHARS;
    const line = this.text.indexOf("\n", cut);
    if (line >= 0) cut = line + 1;
    else if (isLowSurrogate(this.text.charCodeAt(cut))) cut++;
    this.droppedChars += cut;
    this.text = this.text.slice(cut);
  }

  get empty(): boolean {
    return this.text === "" && this.droppedChars === 0;
  }

  /** Returns the next chunk, after a note about the text that was dropped before it. */
  next(): string {
    let note = "";
    if (this.droppedChars > 0) {
      // Reset colors and modes that the dropped part may have set.
      note = `\x1b[0m\r\n\x1b[2m… ${formatBytes(this.droppedChars)} skipped. Use "loomd: Save Output…" for all of it. …\x1b[0m\r\n`;
      this.droppedChars = 0;
    }
    let end = Math.min(MAX_CHUNK_CHARS, this.text.length);
    if (end < this.text.length && isLowSurrogate(this.text.charCodeAt(end))) end--;
    const chunk = this.text.slice(0, end);
    this.text = this.text.slice(end);
    return note + chunk;
  }
}

const isLowSurrogate = (unit: number) => unit >= 0xdc00 && unit <= 0xdfff;

/**
 * Converts LF, which programs write into a pipe, to CR LF, which a terminal needs. Remembers a CR at the end of the
 * previous text.
 */
export class NewlineConverter {
  private endedWithCarriageReturn = false;

  convert(text: string): string {
    const whole = text.replace(/\r?\n/g, (_, at: number) => (at === 0 && this.endedWithCarriageReturn && text[0] === "\n" ? "\n" : "\r\n"));
    this.endedWithCarriageReturn = text.endsWith("\r");
    return whole;
  }
}
