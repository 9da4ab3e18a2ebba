// The model: what it takes, what it gives, and how. Shapes are those of one row, without the batch; -1 is any length.
export const inputs = [{ name: "x", datatype: "FP32", shape: [2] }];
export const outputs = [{ name: "sum", datatype: "FP32", shape: [] }];

/** Loads the model once, at the start. `folder` holds the files of this project. */
export async function load(folder) {
  return (row) => row[0] + row[1];
}

/** Takes a list of rows for each input, gives as many for each output, in their order. */
export async function predict(model, { x }) {
  return { sum: x.map((row) => model(row)) };
}
