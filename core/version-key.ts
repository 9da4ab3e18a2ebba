// What a version is called in maps and messages.

/** Names hold no "/", so that no two versions share a key. */
export function versionKey({ model, version }: { readonly model: string; readonly version: string }): string {
  return `${model}/${version}`;
}
