// Copies of one query's row and outputs that keep neither a request's body nor a whole batch alive.
import { elementCount, encodeBytes, type Tensor } from "../../containers/tensors.ts";
import { BatchOutputs, type Row } from "./query.ts";

/** A copy with buffers of its own. */
export function detachRow(row: Row): Row {
  // Not data.slice(): where `data` is a Buffer, that is a view.
  return {
    key: row.key,
    tensors: row.tensors.map(({ shape, data }) => ({ shape, data: new Uint8Array(data) })),
  };
}

/** Outputs of the query at `index` alone, as a batch of one. @throws TensorFormatError */
export function detachOutputs(outputs: BatchOutputs, index: number): BatchOutputs {
  return new BatchOutputs(
    outputs.tensors.map((tensor) => detachTensor(outputs, tensor, index)),
    1,
    true,
  );
}

function detachTensor(outputs: BatchOutputs, tensor: Tensor, index: number): Tensor {
  // A container without a batch axis is asked for one query at a time; then the tensor is the query's as it stands.
  if (outputs.count === 1) return { ...tensor, data: new Uint8Array(tensor.data) };
  const rest = tensor.shape.slice(1);
  return { ...tensor, shape: [1, ...rest], data: rowData(outputs, tensor, index) };
}

function rowData(outputs: BatchOutputs, tensor: Tensor, index: number): Uint8Array {
  if (tensor.datatype === "BYTES") {
    const size = elementCount(tensor.shape.slice(1));
    return encodeBytes(outputs.elements(tensor).slice(index * size, (index + 1) * size));
  }
  const size = tensor.data.byteLength / outputs.count;
  return new Uint8Array(tensor.data.subarray(index * size, (index + 1) * size));
}

/** Bytes of the tensors of a row. */
export function rowBytes(row: Row): number {
  // For each query: a loop costs no call a tensor.
  let bytes = 0;
  for (const { data } of row.tensors) bytes += data.byteLength;
  return bytes;
}

/** Bytes of all tensors of a batch. */
export function outputBytes(outputs: BatchOutputs): number {
  return outputs.tensors.reduce((sum, { data }) => sum + data.byteLength, 0);
}
