// What each call of Clipper's management API takes, in the words and the white space of its error messages.

function schema(...lines: readonly string[]): string {
  return ["", "  {", ...lines, "  }", ""].join("\n");
}

const TYPES = '"integers" | "bytes" | "floats" | "doubles" | "strings"';

export const ADD_APPLICATION: string = schema(
  '   "name" := string,',
  `   "input_type" := ${TYPES},`,
  '   "default_output" := string,',
  '   "latency_slo_micros" := int',
);
export const ADD_LINKS: string = schema('    "app_name" := string,', '    "model_names" := [string]');
export const DELETE_LINKS: string = schema('  "app_name" := string,', '  "model_names" := [string]');
export const GET_LINKED_MODELS: string = schema('    "app_name" := string');
export const VERBOSE: string = schema('    "verbose" := bool');
export const GET_APPLICATION: string = schema('    "name" := string');
export const GET_MODEL: string = schema('    "model_name" := string,', '    "model_version" := string');
export const GET_CONTAINER: string = schema(
  '    "model_name" := string,',
  '    "model_version" := string,',
  '    "replica_id" := int',
);
export const ADD_MODEL: string = schema(
  '   "model_name" := string,',
  '   "model_version" := string,',
  '   "labels" := [string],',
  `   "input_type" := ${TYPES},`,
  '   "container_name" := string,',
  '   "model_data_path" := string',
);
/** Of delete_versioned_model and set_model_version. */
export const VERSIONED_MODEL: string = schema('   "model_name" := string,', '   "model_version" := string,');
export const SELECTION: string = schema('   "app_name" := string,', '   "uid" := int,');
export const PREDICTION: string = schema('   "input" := [double] | [int] | [string] | [byte] | [float],');
export const UPDATE: string = schema(
  '   "uid" := string,',
  '   "input" := [double] | [int] | [string] | [byte] | [float],',
  '   "label" := double',
);

/** @param detail without a full stop */
export function jsonErrorText(detail: string, expected: string): string {
  return `Error parsing JSON: ${detail}. Expected JSON schema: ${expected}`;
}
