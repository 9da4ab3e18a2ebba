// Scope analysis of one script: which names each function takes from outside, and how it uses them.
import type {
  ExportedName,
  FunctionNode,
  PlacedSetUp,
  Reference,
  Scope,
  ScriptScopes,
  Special,
  SpecialUse,
  TaggedTemplate,
} from "./scope-types.ts";
import { effectOf, setUpsOf } from "./set-ups.ts";
import { children, hasStrictDirective, listOf, literalText, wrappedBody, type Ast } from "./syntax.ts";

/** Calls whose literal argument names a module: CommonJS, and what Vite makes of imports. */
const IMPORT_CALLS: ReadonlySet<string> = new Set([
  "require",
  "__vite_ssr_import__",
  "__vite_ssr_dynamic_import__",
]);

interface Place {
  readonly scope: Scope;
  /** Scope that `var` goes to. */
  readonly hoist: Scope;
  readonly isStrict: boolean;
  readonly thisOwner: number;
  readonly classes: readonly { readonly start: number; readonly names: ReadonlySet<string> }[];
}

type Usage = Partial<Pick<Reference, "isWritten" | "isShorthand" | "isCalled" | "member" | "argument">>;

class Analysis {
  readonly references: Reference[] = [];
  readonly specials: Special[] = [];
  readonly functions: FunctionNode[] = [];
  readonly imports = new Set<string>();
  readonly exports = new Map<string, ExportedName>();
  readonly stars: string[] = [];
  readonly effects = new Set<string>();
  readonly templates: TaggedTemplate[] = [];
  readonly setUps: PlacedSetUp[] = [];
  /** Statements of the top level. */
  #top: ReadonlySet<Ast> = new Set();
  readonly #visitors: Readonly<Record<string, (node: Ast, place: Place) => void>> = {
    Identifier: (node, place) => this.use(node, place),
    ExpressionStatement: (node, place) => {
      const effect = effectOf(node);
      if (effect !== undefined && this.#top.has(node)) this.effects.add(effect);
      for (const each of setUpsOf(node)) this.setUps.push({ ...each, node, isTop: this.#top.has(node) });
      this.each(children(node), place);
    },
    ThisExpression: (node, place) => this.special("this", node, place),
    Super: (node, place) => this.special("super", node, place),
    MetaProperty: (node, place) =>
      this.special(node.meta?.name === "new" ? "new.target" : "import.meta", node, place),
    ImportExpression: (node, place) => {
      const text = literalText(node.source ?? undefined);
      if (text !== undefined) this.imports.add(text);
      this.special("import()", node, place);
      this.each(children(node), place);
    },
    WithStatement: (node, place) => {
      this.special("with", node, place);
      this.each(children(node), place);
    },
    PrivateIdentifier: (node, place) => this.privateName(node, place),
    FunctionDeclaration: (node, place) => {
      if (node.id) {
        place.scope.names.set(node.id.name ?? "", node);
        if (!place.isStrict && !place.hoist.names.has(node.id.name ?? ""))
          place.hoist.names.set(node.id.name ?? "", node);
      }
      this.func(node, place);
    },
    FunctionExpression: (node, place) => this.func(node, place),
    ArrowFunctionExpression: (node, place) => this.func(node, place),
    ClassDeclaration: (node, place) => {
      if (node.id) place.scope.names.set(node.id.name ?? "", node);
      this.classNode(node, place);
    },
    ClassExpression: (node, place) => this.classNode(node, place),
    VariableDeclaration: (node, place) => {
      const target = node.kind === "var" ? place.hoist : place.scope;
      for (const each of node.declarations ?? []) {
        this.pattern(each.id ?? undefined, place, (name) => target.names.set(name, node));
        if (each.init) this.visit(each.init, place);
      }
    },
    BlockStatement: (node, place) => this.block(node, place),
    StaticBlock: (node, place) => {
      const scope = newScope(node.start, "body", place.scope);
      this.each(children(node), { ...place, scope, hoist: scope, thisOwner: node.start });
    },
    ForStatement: (node, place) => this.block(node, place),
    ForInStatement: (node, place) => this.forEach(node, place),
    ForOfStatement: (node, place) => this.forEach(node, place),
    SwitchStatement: (node, place) => this.block(node, place),
    CatchClause: (node, place) => {
      const inner = { ...place, scope: newScope(node.start, "block", place.scope) };
      this.pattern(node.param ?? undefined, inner, (name) => inner.scope.names.set(name, node));
      this.each(listOf(node.body), inner);
    },
    AssignmentExpression: (node, place) => {
      this.pattern(node.left, place, undefined);
      if (node.right) this.visit(node.right, place);
    },
    UpdateExpression: (node, place) => this.pattern(node.argument ?? undefined, place, undefined),
    MemberExpression: (node, place) => this.member(node, place, {}),
    CallExpression: (node, place) => this.call(node, place),
    TaggedTemplateExpression: (node, place) => {
      const raw = (node.quasi?.quasis ?? []).map(({ value }) => (value as { readonly raw: string }).raw);
      this.templates.push({ start: node.start, raw });
      if (node.tag?.type === "Identifier") this.use(node.tag, place, { isCalled: true });
      this.each(
        children(node).filter((child) => child !== node.tag || child.type !== "Identifier"),
        place,
      );
    },
    Property: (node, place) => this.property(node, place),
    LabeledStatement: (node, place) => this.each(listOf(node.body), place),
    BreakStatement: () => {},
    ContinueStatement: () => {},
    ExportDefaultDeclaration: (node, place) => {
      const { declaration } = node;
      if (declaration?.id)
        this.exports.set("default", { local: declaration.id.name ?? "", source: undefined });
      if (declaration) this.visit(declaration, place);
    },
    ImportDeclaration: (node, place) => {
      const text = literalText(node.source ?? undefined) ?? "";
      this.imports.add(text);
      if (node.specifiers?.length === 0) this.effects.add(text);
      for (const each of node.specifiers ?? [])
        place.scope.names.set(each.local?.name ?? "", { ...each, source: node.source ?? null });
    },
    ExportNamedDeclaration: (node, place) => this.exported(node, place),
    ExportAllDeclaration: (node) => {
      const source = literalText(node.source ?? undefined) ?? "";
      this.imports.add(source);
      if (!node.exported) this.stars.push(source);
    },
  };

  /** Goes through a whole script. */
  run(body: readonly Ast[], place: Place): void {
    this.#top = new Set(body);
    this.each(body, place);
  }

  exported(node: Ast, place: Place): void {
    const source = literalText(node.source ?? undefined);
    if (source !== undefined) this.imports.add(source);
    for (const { local, exported } of node.specifiers ?? [])
      this.exports.set(exported?.name ?? "", { local: local?.name ?? "", source });
    const { declaration } = node;
    if (!declaration) return;
    const bound = [declaration.id, ...(declaration.declarations ?? []).map(({ id }) => id)];
    for (const name of bound.flatMap(boundNames)) this.exports.set(name, { local: name, source: undefined });
    this.visit(declaration, place);
  }

  visit(node: Ast, place: Place): void {
    const visitor = this.#visitors[node.type];
    if (visitor === undefined) this.each(children(node), place);
    else visitor(node, place);
  }

  each(nodes: readonly Ast[], place: Place): void {
    for (const node of nodes) this.visit(node, place);
  }

  use(node: Ast, place: Place, usage: Usage = {}): void {
    const name = node.name ?? "";
    // A function has its own, whatever the scopes around it hold under this name.
    if (name === "arguments" && place.thisOwner >= 0) return this.special("arguments", node, place);
    const { isWritten = false, isShorthand = false, isCalled = false, member, argument } = usage;
    const { start, end } = node;
    this.references.push({
      name,
      start,
      end,
      isWritten,
      isShorthand,
      isCalled,
      member,
      argument,
      scope: undefined,
      from: place.scope,
    });
  }

  special(use: SpecialUse, node: Ast, place: Place): void {
    const text = literalText(node.source ?? undefined);
    this.specials.push({ use, start: node.start, owner: place.thisOwner, text });
  }

  privateName(node: Ast, place: Place): void {
    const name = node.name ?? "";
    const owner = place.classes.findLast(({ names }) => names.has(name))?.start ?? -1;
    this.specials.push({ use: "private", start: node.start, owner, text: name });
  }

  block(node: Ast, place: Place): void {
    this.each(children(node), { ...place, scope: newScope(node.start, "block", place.scope) });
  }

  forEach(node: Ast, place: Place): void {
    const inner = { ...place, scope: newScope(node.start, "block", place.scope) };
    if (node.left?.type === "VariableDeclaration") this.visit(node.left, inner);
    else this.pattern(node.left, inner, undefined);
    if (node.right) this.visit(node.right, inner);
    this.each(listOf(node.body), inner);
  }

  /** A target of a declaration (`declare`) or of an assignment. */
  pattern(node: Ast | undefined, place: Place, declare: ((name: string) => void) | undefined): void {
    if (node === undefined) return;
    switch (node.type) {
      case "Identifier":
        if (declare === undefined) this.use(node, place, { isWritten: true });
        else declare(node.name ?? "");
        return;
      case "MemberExpression":
        return this.member(node, place, { isWritten: true });
      case "AssignmentPattern":
        this.pattern(node.left, place, declare);
        return this.each(listOf(node.right), place);
      case "RestElement":
        return this.pattern(node.argument ?? undefined, place, declare);
      default:
        this.patternParts(node, place, declare);
    }
  }

  patternParts(node: Ast, place: Place, declare: ((name: string) => void) | undefined): void {
    for (const each of node.elements ?? []) this.pattern(each ?? undefined, place, declare);
    for (const each of node.properties ?? []) this.patternProperty(each, place, declare);
  }

  patternProperty(node: Ast, place: Place, declare: ((name: string) => void) | undefined): void {
    if (node.type === "RestElement") return this.pattern(node, place, declare);
    if (node.computed === true && node.key) this.visit(node.key, place);
    const value = node.value as Ast;
    if (node.shorthand !== true || declare !== undefined) return this.pattern(value, place, declare);
    const target = value.type === "AssignmentPattern" ? (value.left as Ast) : value;
    this.use(target, place, { isWritten: true, isShorthand: true });
    if (value.type === "AssignmentPattern" && value.right) this.visit(value.right, place);
  }

  member(node: Ast, place: Place, usage: { readonly isWritten?: boolean }): void {
    const { object, property } = node;
    if (object?.type === "Identifier") {
      const isPlain = node.computed !== true && property?.type === "Identifier" && usage.isWritten !== true;
      this.use(object, place, { member: isPlain ? property.name : undefined });
    } else if (object !== undefined) this.visit(object, place);
    if (property !== undefined && (node.computed === true || property.type === "PrivateIdentifier"))
      this.visit(property, place);
  }

  call(node: Ast, place: Place): void {
    const { callee, arguments: given = [] } = node;
    const argument = literalText(given[0]) ?? null;
    if (argument !== null && isLoader(callee)) this.imports.add(argument);
    if (callee?.type === "Identifier") {
      if (callee.name === "eval") this.special("eval", node, place);
      this.use(callee, place, { isCalled: true, argument });
    } else if (callee !== undefined) {
      this.visit(callee, place);
    }
    this.each(given, place);
  }

  property(node: Ast, place: Place): void {
    if (node.computed === true && node.key) this.visit(node.key, place);
    const value = node.value as Ast;
    if (node.shorthand === true && value.type === "Identifier")
      return this.use(value, place, { isShorthand: true });
    if (value.type === "FunctionExpression" && (node.method === true || node.kind !== "init"))
      return this.func(value, place, node);
    this.visit(value, place);
  }

  func(node: Ast, place: Place, method?: Ast): void {
    const isArrow = node.type === "ArrowFunctionExpression";
    const body = node.body as Ast;
    const statements = body.type === "BlockStatement" ? listOf(body.body) : [];
    const isStrict = place.isStrict || hasStrictDirective(statements);
    const kind = isArrow ? "arrow" : method === undefined ? "function" : "method";
    const textStart = method?.start ?? node.start;
    this.functions.push({ node, textStart, end: node.end, kind, isStrict, method });
    const outer = newScope(node.start, "name", place.scope);
    const isNamed = node.type === "FunctionExpression" && method === undefined;
    for (const name of isNamed ? boundNames(node.id) : []) outer.names.set(name, node);
    const thisOwner = isArrow ? place.thisOwner : node.start;
    this.inFunction(node, { ...place, scope: outer, isStrict, thisOwner });
  }

  /** Parameters have a scope of their own, since their defaults do not see what the body declares. */
  inFunction(node: Ast, place: Place): void {
    const body = node.body as Ast;
    const parameters = newScope(node.start, "parameters", place.scope);
    const inner: Place = { ...place, scope: parameters, hoist: parameters };
    for (const each of node.params ?? [])
      this.pattern(each, inner, (name) => parameters.names.set(name, node));
    const scope = newScope(body.start, "body", parameters);
    const within = { ...inner, scope, hoist: scope };
    if (body.type === "BlockStatement") this.each(listOf(body.body), within);
    else this.visit(body, within);
  }

  classNode(node: Ast, place: Place): void {
    this.functions.push({
      node,
      textStart: node.start,
      end: node.end,
      kind: "class",
      isStrict: true,
      method: undefined,
    });
    const scope = newScope(node.start, "class", place.scope);
    if (node.id) scope.names.set(node.id.name ?? "", node);
    const members = listOf((node.body as Ast).body);
    const names = new Set(
      members.filter(({ key }) => key?.type === "PrivateIdentifier").map(({ key }) => key?.name ?? ""),
    );
    const inner = { ...place, scope, isStrict: true };
    if (node.superClass) this.visit(node.superClass, inner);
    const within = { ...inner, classes: [...place.classes, { start: node.start, names }] };
    for (const member of members) this.classMember(member, within, node);
  }

  classMember(member: Ast, place: Place, owner: Ast): void {
    if (member.type === "StaticBlock") return this.visit(member, place);
    if (member.computed === true && member.key) this.visit(member.key, place);
    const value = member.value as Ast | null;
    if (!value) return;
    if (member.type === "MethodDefinition") return this.func(value, place, member);
    const scope = newScope(value.start, "body", place.scope);
    this.visit(value, { ...place, scope, hoist: scope, thisOwner: owner.start });
  }
}

/** `require`, and `createRequire(…)`, which gives one. */
function isLoader(callee: Ast | undefined): boolean {
  const maker = callee?.callee?.property ?? callee?.callee;
  return IMPORT_CALLS.has(callee?.name ?? "") || maker?.name === "createRequire";
}

/** Names that a pattern of a declaration binds. */
function boundNames(node: Ast | null | undefined): readonly string[] {
  if (!node) return [];
  if (node.type === "Identifier") return [node.name ?? ""];
  if (node.type === "AssignmentPattern") return boundNames(node.left);
  if (node.type === "RestElement") return boundNames(node.argument);
  if (node.type === "Property") return boundNames(node.value as Ast);
  return [...(node.elements ?? []), ...(node.properties ?? [])].flatMap(boundNames);
}

function newScope(start: number, kind: Scope["kind"], parent: Scope | undefined): Scope {
  return { start, kind, names: new Map(), parent };
}

/** Analyses a whole script, once. */
export function analyse(program: Ast, isModule: boolean): ScriptScopes {
  const analysis = new Analysis();
  const scope = newScope(-1, "program", undefined);
  const body = wrappedBody(program) ?? listOf(program.body);
  const isStrict = isModule || hasStrictDirective(listOf(program.body));
  analysis.run(body, { scope, hoist: scope, isStrict, thisOwner: -1, classes: [] });
  for (const reference of analysis.references) reference.scope = declaring(reference);
  analysis.references.sort((a, b) => a.start - b.start);
  const { references, specials, functions, imports, exports, stars, effects, templates, setUps } = analysis;
  return {
    program: scope,
    references,
    specials,
    functions,
    imports,
    exports,
    stars,
    effects,
    templates,
    setUps,
  };
}

function declaring({ name, from }: Reference): Scope | undefined {
  let scope: Scope | undefined = from;
  while (scope !== undefined && !scope.names.has(name)) scope = scope.parent;
  return scope;
}
