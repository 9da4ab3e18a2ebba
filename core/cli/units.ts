// Sizes, times and rates as people read them.

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** "512 B", "41.5 MiB". */
export function bytesText(bytes: number): string {
  const power = Math.min(SIZES.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  const value = bytes / 2 ** (10 * power);
  return `${power === 0 ? value : threeDigits(value)} ${SIZES[power]}`;
}

/** "0%", "12%", "350%". */
export function percentText(share: number): string {
  return `${share > 0 && share < 0.095 ? (share * 100).toFixed(1) : Math.round(share * 100)}%`;
}

/** "0.42 ms", "120 ms", "3.1 s", "2 h 5 min". */
export function durationText(ms: number): string {
  if (ms < 1000) return `${threeDigits(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${threeDigits(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago an ISO 8601 time was: "5.2 s ago". */
export function agoText(time: string, now: number = Date.now()): string {
  return `${durationText(Math.max(0, now - Date.parse(time)))} ago`;
}

/** Three digits that count, at most three behind the point: "0.123", "12.3", "12345", "0". */
export function threeDigits(value: number): string {
  if (Math.abs(value) < 0.0005 || Math.abs(value) >= 100) return String(Math.round(value));
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(3, digits));
}
