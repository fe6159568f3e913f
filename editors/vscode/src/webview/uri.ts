// Addresses of links, which an agent may have written.

/** A link's path without escapes; one that is escaped wrongly stays as it is. */
export function decodedUri(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
