// What `windjammer deploy` takes a target for, and what it says of one that is nothing of the sort.
import { describe, expect, test } from "vitest";
import type { ModelKind } from "../../../../core/cli/deploying/kinds.ts";
import { type Found, recognize, type Target } from "../../../../core/cli/deploying/recognize.ts";

function target(text: string, found: Found): Target {
  return { text, path: text.startsWith("/") ? text : `/nets/${text.replace(/^\.\//, "")}`, found };
}
const file = (text: string): Target => target(text, { at: "file" });
const folder = (text: string, ...names: readonly string[]): Target => target(text, { at: "folder", names });
const nothing = (text: string, ...neighbours: readonly string[]): Target =>
  target(text, { at: "nothing", neighbours });

describe("kinds", () => {
  test.each<[Target, ModelKind, string, object]>([
    [file("digits.onnx"), "onnx", "digits", { model: "/nets/digits.onnx" }],
    [file("tfjs/model.json"), "tensorflow", "nets", { model: "/nets/tfjs/model.json" }],
    [file("mnist/tfjs/model.json"), "tensorflow", "mnist", { model: "/nets/mnist/tfjs/model.json" }],
    [file("flowers/saved_model.pb"), "tensorflow", "flowers", { model: "/nets/flowers/saved_model.pb" }],
    [folder("flowers", "saved_model.pb", "variables"), "tensorflow", "flowers", { model: "/nets/flowers" }],
    [folder("/models/flowers/3", "saved_model.pb"), "tensorflow", "flowers", { model: "/models/flowers/3" }],
    [folder("net", "model.json", "weights.bin"), "tensorflow", "net", { model: "/nets/net" }],
    [file("score.ts"), "function", "score", { module: "/nets/score.ts" }],
    [file("score.mjs"), "function", "score", { module: "/nets/score.mjs" }],
    [file("spam/predict.js"), "function", "spam", { module: "/nets/spam/predict.js" }],
    [folder("spam", "Dockerfile", "server.py"), "dockerfile", "spam", { dockerfile: "/nets/spam" }],
    [file("spam/Dockerfile"), "dockerfile", "spam", { dockerfile: "/nets/spam/Dockerfile" }],
    [folder("iris", "predict.py", "iris.pkl"), "python", "iris", { folder: "/nets/iris" }],
    [folder("qa", "inference.py"), "python", "qa", { folder: "/nets/qa" }],
    [folder("old", "model.bin"), "python", "old", { folder: "/nets/old" }],
    [file("iris.zip"), "python", "iris", { zip: "/nets/iris.zip" }],
    [
      nothing("registry.example.org/team/spam:3"),
      "image",
      "spam",
      { image: "registry.example.org/team/spam:3" },
    ],
    [nothing("spam:3"), "image", "spam", { image: "spam:3" }],
    [target("http://127.0.0.1:9000", { at: "url" }), "url", "", { url: "http://127.0.0.1:9000" }],
    [
      target("https://spam.example.org/v2", { at: "url" }),
      "url",
      "spam",
      { url: "https://spam.example.org/v2" },
    ],
  ])("%o is %s", (given, ...[kind, name, options]) => {
    const found = recognize(given);
    expect(found).toMatchObject({ kind, options });
    expect(found.name ?? "").toBe(name);
  });

  test("with a command a folder is what the program runs in, whatever it holds; a file is none", () => {
    const found = recognize(folder("spam", "Dockerfile", "server.py"), "command");
    expect(found).toMatchObject({ kind: "command", name: "spam", options: { folder: "/nets/spam" } });
    expect(() => recognize(file("server.py"), "command")).toThrow(/server\.py is a file; give the folder/);
  });

  test("a name fit for an application is made of what is there", () => {
    expect(recognize(file("My Model (v2).onnx")).name).toBe("my-model-v2");
    expect(recognize(file("__x__.ts")).name).toBe("x");
    expect(recognize(target("/models/ö.onnx", { at: "file" })).name).toBeUndefined();
  });

  test("--as decides between two, and names what has no suffix of its own", () => {
    const both = folder("spam", "Dockerfile", "predict.py");
    expect(() => recognize(both)).toThrow(/both Dockerfile and predict\.py.*--as dockerfile or --as python/);
    expect(recognize(both, "python")).toMatchObject({ kind: "python", options: { folder: "/nets/spam" } });
    expect(recognize(file("network.bin2"), "onnx")).toMatchObject({ kind: "onnx" });
    expect(recognize(nothing("spam"), "image")).toMatchObject({ options: { image: "spam" } });
    expect(() => recognize(nothing("spam"), "onnx")).toThrow("no file or folder spam");
    expect(() => recognize(file("a.onnx"), "url")).toThrow("is no URL");
    expect(() => recognize(target("http://a", { at: "url" }), "onnx")).toThrow("is a URL");
    expect(() => recognize(nothing("-a b"), "image")).toThrow("no name of an image");
  });
});

describe("mistakes say what was looked for and what was found", () => {
  test.each<[string, Target, RegExp]>([
    [
      "a misspelt file",
      nothing("digitz.onnx", "digits.onnx", "readme.md"),
      /no file or folder digitz\.onnx: did you mean digits\.onnx\?$/,
    ],
    ["a misspelt ending", nothing("digits.onx", "digits.onnx"), /did you mean digits\.onnx\?$/],
    [
      "a folder that is not there",
      target("a/b.onnx", { at: "nothing", neighbours: undefined }),
      /there is no folder \/nets\/a$/,
    ],
    ["a word", nothing("spam"), /no file or folder spam: .*image is written with its tag \(spam:latest\)/],
    [
      "an empty folder",
      folder("model"),
      /folder model holds none of Dockerfile, saved_model\.pb, model\.json, predict\.py, .*it is empty/,
    ],
    ["the folder above", folder("models", "net", "net/saved_model.pb"), /give models\/net$/],
    ["a folder with an .onnx in it", folder("models", "a.onnx"), /give models\/a\.onnx$/],
    ["a folder with a module in it", folder(".", "score.ts", "package.json"), /give \.\/score\.ts$/],
    [
      "a folder of something else",
      folder("docs", "a.md", "b.md"),
      /it holds a\.md, b\.md; expected an \.onnx file/,
    ],
    ["a Keras file", file("net.keras"), /Keras file.*model\.export/],
    ["PyTorch weights", file("net.pt"), /torch\.onnx\.export/],
    ["a pickle", file("net.pkl"), /predict\.py/],
    ["a part of a Python model", file("iris/predict.py"), /give the folder/],
    ["a frozen graph", file("graph.pb"), /SavedModel/],
    ["package.json", file("package.json"), /no model/],
    ["a text", file("notes.txt"), /none of the kinds.*an \.onnx file.*--as KIND/],
  ])("%s", (_, given, message) => {
    expect(() => recognize(given)).toThrow(message);
  });
});
