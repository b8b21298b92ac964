// The address of a channel, resolved for fetch and WebSocket.
//
// Read as text: some engines have a URL that can neither be changed nor asked for its parts.

import { ChannelError } from "./session.js";

const TOKEN = /^[!#$%&'*+.^_`|~\dA-Za-z-]+$/;

/**
 * Resolves to `{url, socketUrl, headers}`. Credentials of the address become a header for fetch, which takes no address with
 * credentials. Throws ChannelError "address" for an invalid address.
 */
export function aimAt(address, headers = {}, environment = {}) {
  const href = absolute(address, environment).replace(/#.*$/s, "");
  const [, secure, userinfo, rest] = /^(?:ws|http)(s?):\/\/(?:([^/?#\\]*)@)?(.*)$/is.exec(href);
  const url = `http${secure}://${rest}`.replace(/^https?/i, (scheme) => scheme.toLowerCase());
  const isAuthorized = Object.keys(headers).some((name) => name.toLowerCase() === "authorization");
  const authorization = userinfo && !isAuthorized ? { authorization: basic(userinfo) } : {};
  const socketUrl = url.replace("http", "ws").replace("://", userinfo ? `://${userinfo}@` : "://");
  return { url, socketUrl, headers: { ...headers, ...authorization } };
}

/** The subprotocols, each once. Throws ChannelError "address" for names that no handshake can carry. */
export function namesOf(protocols = []) {
  const names = [...new Set([protocols].flat())];
  for (const name of names) {
    if (typeof name !== "string" || !TOKEN.test(name)) throw new ChannelError("address", `${shown(name)} is no subprotocol`);
  }
  return names;
}

function absolute(address, environment) {
  const text = typeof address === "string" ? address.trim() : address?.href;
  if (typeof text !== "string" || text === "") throw none(address, "it is neither a text nor a URL");
  if (!/^[a-z][a-z\d+.-]*:/i.test(text)) return resolved(text, environment);
  if (!/^(ws|http)s?:/i.test(text)) throw none(text, "its scheme is not one of ws, wss, http, https");
  const href = parsed(text);
  if (href === null) throw none(text, "it cannot be read");
  // Unchanged if possible: some engines add to a parsed address.
  return hasHost(text) ? text : href;
}

function resolved(text, { location, document }) {
  const page = location?.href;
  // The address of a worker or frame that was made from a blob, or of none, is no base; its origin is one.
  const origin = /^blob:(https?:\/\/[^/]+)/i.exec(page ?? "")?.[1];
  const bases = [page, document?.baseURI, origin].filter((base) => typeof base === "string");
  const found = bases.map((base) => parsed(text, base)).find((href) => href !== null && hasHost(href));
  if (found !== undefined) return found;
  if (bases.length === 0) throw none(text, "it is relative, and there is no page that it could be relative to");
  throw none(text, `it is relative, and ${shown(bases[0])} is no base for it`);
}

const hasHost = (text) => /^(ws|http)s?:\/\/[^/?#\\]/i.test(text);

function parsed(text, base) {
  try {
    return base === undefined ? new URL(text).href : new URL(text, base).href;
  } catch {
    return null;
  }
}

function basic(userinfo) {
  const [name, ...password] = userinfo.split(":");
  const text = `${decoded(name)}:${decoded(password.join(":"))}`;
  const bytes = encodeURIComponent(text).replace(/%(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return `Basic ${btoa(bytes)}`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const none = (address, why) => new ChannelError("address", `${shown(address)} is no address of a channel: ${why}`);

function shown(value) {
  if (typeof value !== "string") return String(value);
  // A password in the address is not shown.
  const text = value.replace(/\/\/[^/?#]*@/, "//...@");
  return `"${text.length > 80 ? `${text.slice(0, 80)}...` : text}"`;
}
