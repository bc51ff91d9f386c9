// Addresses of attachments.

// Signed links name one host; the page may use the other (localhost or 127.0.0.1).
export function local(url) {
  const parsed = new URL(url, location.href);
  return parsed.pathname.startsWith("/attachments/") ? parsed.pathname + parsed.search : null;
}
