// The option --peer: a server that runs already, by URL and body shape.
import { CLIPPER, type Shape, templated } from "./shapes.ts";

export interface Peer {
  readonly name: string;
  readonly url: string;
  readonly form: Shape;
}

/**
 * Reads `name=url`, which takes {"input": row} as we do, or `name=url|body|path`: the body with $row in place of the numbers,
 * and the dotted path to the prediction in the reply.
 * @throws Error saying what was expected
 */
export function peerOf(text: string): Peer {
  const [, name, url = "", body, path = ""] =
    /^([^=]+)=([^|]+)(?:\|([^|]*)(?:\|([^|]*))?)?$/.exec(text) ?? [];
  if (name === undefined || !URL.canParse(url) || new URL(url).protocol !== "http:")
    throw new Error(`--peer takes name=http://host:port/path or name=url|body|path, not ${text}`);
  return { name, url, form: body === undefined ? CLIPPER : templated(body, path) };
}
