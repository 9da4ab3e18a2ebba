// Tar entries byte by byte, for archives that no honest tool would write.

export interface TarEntry {
  readonly name: string;
  readonly content?: string | Buffer | undefined;
  /** Type flag: "0" file, "1" hard link, "2" symbolic link, "5" folder, … Default "0". */
  readonly type?: string | undefined;
  readonly linkname?: string | undefined;
  readonly mode?: number | undefined;
  /** What the header claims; default: the content's. */
  readonly size?: number | undefined;
}

/** Two blocks of zeros. */
export const TAR_END: Buffer = Buffer.alloc(1024);

export function tar(...entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), TAR_END]);
}

export function tarEntry(entry: TarEntry): Buffer {
  const content = Buffer.from(entry.content ?? "");
  const header = Buffer.alloc(512);
  header.write(entry.name, 0, 100);
  header.write(octal(entry.mode ?? 0o644, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  writeSize(header, entry.size ?? content.length);
  header.write(octal(0, 11), 136);
  header.write("        ", 148);
  header.write(entry.type ?? "0", 156);
  header.write(entry.linkname ?? "", 157, 100);
  header.write("ustar\u{0}00", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)}\0 `, 148);
  const padding = Buffer.alloc((512 - (content.length % 512)) % 512);
  return Buffer.concat([header, content, padding]);
}

/** A pax header in front of an entry, which replaces its name or size. */
export function pax(fields: Readonly<Record<string, string>>): Buffer {
  const content = Object.entries(fields).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = Buffer.byteLength(rest);
    while (String(length).length + Buffer.byteLength(rest) !== length)
      length = String(length).length + Buffer.byteLength(rest);
    return `${length}${rest}`;
  });
  return tarEntry({ name: "pax", type: "x", content: content.join("") });
}

function writeSize(header: Buffer, size: number): void {
  if (size < 8 ** 11) header.write(octal(size, 11), 124);
  else {
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(size), 128);
  }
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0");
}
