// Texts for the wire: UTF-8, which cannot represent half a surrogate pair.

const REPLACEMENT = "\ufffd";

/** The text with U+FFFD for each half of a surrogate pair, which transports treat differently. */
export function wellFormed(text) {
  if (text.toWellFormed) return text.toWellFormed();
  return text.replace(/\p{Surrogate}/gu, REPLACEMENT);
}

/** The value as well-formed JSON; undefined for a value that has none. */
export function jsonOf(value) {
  const text = JSON.stringify(value);
  if (text === undefined) return undefined;
  // Halves of pairs are written as escapes, in keys too. An escaped backslash is read first: what follows it is text.
  const halves = /\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|u([dD][89a-fA-F][\da-fA-F]{2})|.)/g;
  const whole = text.includes("\\u") ? text.replace(halves, (found, half) => (half ? REPLACEMENT : found)) : text;
  return wellFormed(whole);
}

/** The number of bytes of UTF-8 that a well-formed text takes. */
export function byteLength(text) {
  let length = text.length;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    // Each half of a pair takes two of the four bytes.
    if (unit > 0x7f) length += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1;
  }
  return length;
}

/** The beginning of a text, cut between characters to a number of bytes of UTF-8. */
export function cutToBytes(text, most) {
  const whole = wellFormed(text);
  // Longer texts do not fit in any case, and need not be counted.
  let left = most;
  let end = 0;
  for (const char of whole.slice(0, most + 1)) {
    left -= byteLength(char);
    if (left < 0) break;
    end += char.length;
  }
  return whole.slice(0, end);
}
