import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { compile, errorsIn } from '../support/compile.js';
import { ROOT } from '../support/documentation.js';

// The compiler is slow on a busy machine.
import.meta.jest.setTimeout(120_000);

/** What a method returns or has as parameters, and the type that its client receives. */
type Case = readonly [what: string, method: string, received: string];

const SOURCES: readonly Case[] = [
  ['a generator', '*m() { yield row; }', 'Row'],
  ['an async generator', 'async *m() { yield row; }', 'Row'],
  ['a generator of several types', '*m() { yield 1; yield "a"; yield row; }', '1 | "a" | Row'],
  ['a generator that also returns a value', '*m() { yield 1 as number; return "over"; }', 'number'],
  ['a generator of promises', '*m() { yield Promise.resolve(row); }', 'Row'],
  ['an Iterable', 'm(): Iterable<Row> { return []; }', 'Row'],
  ['an AsyncIterable', 'm(): AsyncIterable<Row> { return rows(); }', 'Row'],
  ['an array', 'm() { return [row]; }', 'Row'],
  ['a readonly tuple', 'm() { return [1, "a"] as const; }', '1 | "a"'],
  ['a Set', 'm() { return new Set([row]); }', 'Row'],
  ['a Map, which iterates over its entries', 'm() { return new Map([["a", row]]); }', '[string, Row]'],
  ['a promise of a generator', 'async m() { return rows(); }', 'Row'],
  ['a promise of an array', 'async m() { return [row]; }', 'Row'],
  ['one of two kinds', 'm(): Row[] | AsyncIterable<string> { return []; }', 'Row | string'],
  ['one of two promises', 'm(): Promise<Row[]> | Promise<Set<number>> { return Promise.resolve([]); }', 'Row | number'],
  ['an Observable', 'm() { return of(row); }', 'Row'],
  ['an Observable of promises', 'm() { return of(Promise.resolve(row)); }', 'Row'],
  ['a BehaviorSubject', 'm() { return new BehaviorSubject(row); }', 'Row'],
  ['an Observable of MessageEvent of Nest', 'm(): Observable<MessageEvent> { return EMPTY; }', 'string | object'],
  ['an Observable of objects with data', 'm() { return of({ data: row, id: "1" }); }', 'Row'],
  [
    'an Observable of objects with data and an optional id',
    'm(): Observable<{ data: Row; id?: string }> { return EMPTY; }',
    'Row',
  ],
  ['a subscription of a hub', 'm() { return hub.subscribe(); }', 'Row'],
  ['a promise of a subscription of a hub', 'async m() { return hub.subscribe(); }', 'Row'],
  [
    'a subscription of a hub of dates',
    'm(): HubSubscription<{ at: Date }> { throw new Error("away"); }',
    '{ at: string }',
  ],
  ['a view of a run', 'async m() { return runs.join("1"); }', 'Row'],
  ['a Node.js stream', 'm() { return Readable.from([row]); }', 'unknown'],
  ['a web stream of Node.js', 'm() { return NodeStream.from([row]) as NodeStream<Row>; }', 'Row'],
  ['a web stream', 'm(): ReadableStream<Row> { return new ReadableStream(); }', 'Row'],
  ['a web stream of bytes', 'm(): ReadableStream<Uint8Array> { return new ReadableStream(); }', 'string'],
  ['a Response', 'async m() { return fetch("http://localhost"); }', 'unknown'],
  ['a StreamableFile', 'm() { return new StreamableFile(Buffer.from("a")); }', 'string'],
  ['a string', 'm() { return "text" as string; }', 'string'],
  ['a promise of a string', 'async m() { return "text" as string; }', 'string'],
  ['strings', '*m() { yield "a" as string; }', 'string'],
  ['bytes', 'm() { return Buffer.from("a"); }', 'string'],
  ['typed arrays', '*m() { yield new Float32Array(1); yield new ArrayBuffer(1); }', 'string'],
  ['any', 'm(): any { return []; }', 'any'],
  ['unknown', 'm(): unknown { return []; }', 'unknown'],
  ['never', 'm(): never { throw new Error("never"); }', 'never'],
  ['an iterable of any', 'm(): Iterable<any> { return []; }', 'any'],
  ['an iterable of unknown', 'm(): Iterable<unknown> { return []; }', 'unknown'],
  ['an iterable of never', 'm(): Iterable<never> { return []; }', 'never'],
  ['what is no stream', 'm() { return 7; }', 'never'],
  ['an object of another kind, which may be an Observable', 'm() { return { subscribe: () => 1 }; }', 'unknown'],
  ['the property of a class', 'm = async function* () { yield row; };', 'Row'],
];

const EVENTS: readonly Case[] = [
  ['events of event()', 'async *m() { yield event({ id: "1", data: row }); }', 'Row'],
  ['events and data', '*m() { yield event({ data: row }); yield "text" as string; }', 'Row | string'],
  ['an AsyncGenerator of StreamEvent', 'm(): AsyncGenerator<StreamEvent<Row>> { return none(); }', 'Row'],
  ['an AsyncGenerator of StreamEvent without a type', 'm(): AsyncGenerator<StreamEvent> { return none(); }', 'unknown'],
  ['data and flush()', '*m() { yield row; yield flush(); }', 'Row'],
  [
    'objects with data and all other keys',
    '*m() { yield { data: row, id: "1", type: "t", retry: 1, comment: "" }; }',
    'Row',
  ],
  ['data, and events with a comment', '*m() { yield { data: row }; yield { comment: "wait" }; }', 'Row'],
  ['data that may be undefined', '*m(): Iterable<{ data?: Row | undefined }> {}', 'Row'],
  ['data that is null', '*m() { yield { data: null }; }', 'null'],
  ['data that are bytes', '*m() { yield { data: new Uint8Array(1) }; }', 'string'],
  ['data that is a date', '*m() { yield { data: new Date() }; }', 'string'],
  ['a chunk that is undefined', '*m() { yield undefined; yield row; }', 'Row'],
  ['rows with an id and a comment', 'm() { return [{ id: 1, comment: "nice" }]; }', '{ id: number; comment: string }'],
  ['rows with data and other keys', 'm() { return [{ data: 1, at: 2 }]; }', '{ data: number; at: number }'],
  ['rows that have the key data and toJSON()', 'm() { return [new Document()]; }', '{ data: number }'],
];

const EXPLICIT: readonly Case[] = [
  ['objects with data', '*m() { yield { id: "1", data: row }; }', '{ id: string; data: Row }'],
  ['rows with an id and a comment', '*m() { yield { id: 1, comment: "nice" }; }', '{ id: number; comment: string }'],
  ['events of event()', '*m() { yield event({ id: "1", data: row }); }', 'Row'],
  ['a subscription of a hub', 'm() { return hub.subscribe(); }', 'Row'],
  ['data and flush()', '*m() { yield row; yield flush(); }', 'Row'],
];

const SHAPE: readonly Case[] = [
  ['rows with an id and a comment', '*m() { yield { id: 1, comment: "nice" }; }', 'never'],
  ['a comment or data', 'm(): Iterable<{ comment: string } | { retry: number } | { data: Row }> { return []; }', 'Row'],
  ['an id and a type, which are data', '*m() { yield { id: "1", type: "x" }; }', '{ id: string; type: string }'],
];

const PUSHED: readonly Case[] = [
  ['a StreamConnection', 'm(stream: StreamConnection<Row>) { void stream.send(row); }', 'Row'],
  ['a StreamConnection behind others', 'async m(id: string, stream: StreamConnection<Row>) {}', 'Row'],
  ['a StreamConnection of dates', 'm(stream: StreamConnection<{ at: Date }>): void {}', '{ at: string }'],
  ['a StreamConnection of several types', 'm(stream: StreamConnection<Row | string>): void {}', 'Row | string'],
  ['a StreamConnection without a type', 'm(stream: StreamConnection): void {}', 'unknown'],
  ['a StreamConnection, beside what it returns', 'm(stream: StreamConnection<string>) { return [row]; }', 'Row'],
  [
    'a StreamConnection, if it may return nothing',
    'm(stream: StreamConnection<string>): Row[] | undefined { return undefined; }',
    'Row | string',
  ],
  ['none, so that it is no stream', 'm(id: string): void {}', 'never'],
  ['a parameter of any type', 'm(stream: any): void {}', 'never'],
  ['a response of another library', 'm(stream: { send(body: Row): void }): void {}', 'never'],
];

const JSON_TYPES: readonly Case[] = [
  ['a date', '*m() { yield { at: new Date() }; }', '{ at: string }'],
  ['an object with toJSON()', '*m() { yield new Money(); }', '{ cents: number }'],
  [
    'toJSON() that returns an object with toJSON(), which is called once',
    '*m() { yield new Twice(); }',
    '{ one: number }',
  ],
  ['toJSON() that returns this', '*m() { yield new Self(); }', '{ one: number }'],
  ['a method', '*m() { yield new Point(); }', '{ x: number }'],
  [
    'a function, a symbol and undefined',
    '*m() { yield { a: () => 1, b: Symbol(), c: undefined, d: Point, e: 1 as number }; }',
    '{ e: number }',
  ],
  [
    'a key that is a symbol',
    '*m() { yield { [Symbol.iterator]: 1, a: 1 as number } as { [k: symbol]: number; a: number }; }',
    '{ a: number }',
  ],
  ['an optional key', 'm(): Iterable<{ a?: Date; b: number }> { return []; }', '{ a?: string; b: number }'],
  ['a key that may be undefined', 'm(): Iterable<{ a: number | undefined }> { return []; }', '{ a?: number }'],
  [
    'a readonly key',
    'm(): Iterable<{ readonly a: Date; readonly b?: Date }> { return []; }',
    '{ readonly a: string; readonly b?: string }',
  ],
  [
    'a key of any type and one of an unknown type',
    'm(): Iterable<{ a: any; b: unknown }> { return []; }',
    '{ a: any; b: unknown }',
  ],
  ['undefined in an array', 'm(): Iterable<{ a: (number | undefined)[] }> { return []; }', '{ a: (number | null)[] }'],
  ['functions in an array', 'm(): Iterable<{ a: (() => void)[] }> { return []; }', '{ a: null[] }'],
  ['a readonly array', 'm(): Iterable<{ a: readonly Date[] }> { return []; }', '{ a: readonly string[] }'],
  [
    'a tuple',
    'm(): Iterable<{ a: [Date, undefined, x?: number] }> { return []; }',
    '{ a: [string, null, x?: number | null] }',
  ],
  [
    'a readonly tuple with a rest',
    'm(): Iterable<readonly [Date, ...number[]]> { return []; }',
    'readonly [string, ...number[]]',
  ],
  ['an empty array', 'm(): Iterable<{ a: never[] }> { return []; }', '{ a: never[] }'],
  [
    'a Map, a Set and a RegExp',
    'm(): Iterable<{ a: Map<string, 1>; b: Set<1> }> { return []; }',
    '{ a: Record<string, never>; b: Record<string, never> }',
  ],
  [
    'bytes in an object',
    'm(): Iterable<{ a: Uint8Array; b: Buffer }> { return []; }',
    '{ a: Record<string, number>; b: { type: "Buffer"; data: number[] } }',
  ],
  ['a bigint, with which the stream fails', '*m() { yield 1n; yield row; }', 'Row'],
  [
    'a promise in an object, with which the stream fails',
    'm(): Iterable<{ a: Promise<1> }> { return []; }',
    '{ a: never }',
  ],
  ['a branded string', 'm(): Iterable<Branded> { return []; }', 'Branded'],
  ['a branded string as a key', 'm(): Iterable<Record<Branded, Date>> { return []; }', 'Record<Branded, string>'],
  ['an enum', 'm(): Iterable<{ a: Color }> { return []; }', '{ a: Color }'],
  ['a record', 'm(): Iterable<Record<string, Date>> { return []; }', 'Record<string, string>'],
  ['an object of an unknown shape', 'm(): Iterable<{ a: object; b: {} }> { return []; }', '{ a: object; b: {} }'],
  ['an interface', 'm(): Iterable<Row> { return []; }', 'Row'],
  ['a union', 'm(): Iterable<{ k: "a"; at: Date } | { k: "b" }> { return []; }', '{ k: "a"; at: string } | { k: "b" }'],
  ['a union with null in a field', 'm(): Iterable<{ a: Date | null }> { return []; }', '{ a: string | null }'],
  ['a recursive interface', 'm(): Iterable<Tree> { return []; }', 'JsonTree'],
  ['a recursive type of arrays', 'm(): Iterable<Json> { return []; }', 'Json'],
  ['an intersection', 'm(): Iterable<{ a: Date } & { b: number }> { return []; }', '{ a: string; b: number }'],
];

const PREAMBLE = `
import { Readable } from 'node:stream';
import { ReadableStream as NodeStream } from 'node:stream/web';
import { type MessageEvent, StreamableFile } from '@nestjs/common';
import { event, flush, type Hub, type HubSubscription, type Runs, type StreamConnection, type StreamEvent } from 'nestjs-streaming';
import type { StreamOf } from 'nestjs-streaming/client';
import { BehaviorSubject, EMPTY, type Observable, of } from 'rxjs';
export interface Row { id: number; name: string }
export interface Tree { at: Date; children: Tree[]; parent?: Tree; pairs: [Tree, Tree] }
export interface JsonTree { at: string; children: JsonTree[]; parent?: JsonTree; pairs: [JsonTree, JsonTree] }
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export type Branded = string & { readonly brand: 'id' };
export enum Color { Red, Green }
export class Point { x = 1; length() { return this.x; } get [Symbol.toStringTag]() { return () => 1; } }
export class Money { private cents = 1; toJSON() { return { cents: this.cents }; } }
export class Twice { toJSON() { return { one: 1 as number, toJSON: () => 'never called' }; } }
export class Self { one = 1; toJSON() { return this; } }
export class Document { data = 1; toJSON() { return { data: this.data }; } }
declare const row: Row;
declare function rows(): AsyncGenerator<Row>;
declare function none(): AsyncGenerator<never>;
declare const hub: Hub<Row>;
declare const runs: Runs<Row>;
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Deep<T> = 0 extends 1 & T ? T : T extends object ? { [K in keyof T]: T[K] } : T;
`;

interface Group {
  readonly name: string;
  readonly cases: readonly Case[];
  readonly events?: 'explicit' | 'shape';
}

const GROUPS: readonly Group[] = [
  { name: 'The client of a method that returns', cases: SOURCES },
  { name: 'The client of a method that yields', cases: EVENTS },
  { name: 'The client of a method, with "explicit", that yields', cases: EXPLICIT, events: 'explicit' },
  { name: 'The client of a method, with "shape", that yields', cases: SHAPE, events: 'shape' },
  { name: 'The client of a method that sends, with', cases: PUSHED },
  { name: 'The client of a method that sends as JSON', cases: JSON_TYPES },
];

/** The name of a type that is what the client of a case receives. */
const nameOf = (group: number, index: number) => `Received_${group}_${index}`;

function codeOf({ cases, events }: Group, group: number): string {
  return cases
    .map(([, method, received], index) => {
      const name = nameOf(group, index);
      return [
        `class Feed_${name} { ${method} }`,
        `type ${name} = StreamOf<typeof Feed_${name}, 'm'${events ? `, '${events}'` : ''}>;`,
        `const is_${name}: Same<Deep<${name}>, Deep<${received}>> = true;`,
      ].join(' ');
    })
    .join('\n');
}

/** The module of the cases, which does not exist as a file. */
const FILE = join(ROOT, 'test/client/.cases.ts');

/** What a type is, as text. */
function textOf(program: ts.Program, name: string): string {
  const found = program
    .getSourceFile(FILE)
    ?.statements.find((each) => ts.isTypeAliasDeclaration(each) && each.name.text === name);
  const flags = ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.InTypeAlias;
  const checker = program.getTypeChecker();
  return found ? checker.typeToString(checker.getTypeAtLocation(found), undefined, flags) : 'not found';
}

describe('StreamOf', () => {
  const code = [PREAMBLE, ...GROUPS.map(codeOf)].join('\n');
  const line = (group: number, index: number) =>
    code.split('\n').findIndex((each) => each.includes(`type ${nameOf(group, index)} `));
  let program: ts.Program;
  let errors: Map<number, string>;

  beforeAll(() => {
    program = compile({ [FILE]: code });
    errors = new Map(errorsIn(program, FILE).map((each) => [each.line, each.message]));
  });

  GROUPS.forEach(({ name, cases }, group) => {
    describe(name, () => {
      it.each(cases.map(([what, , received], index) => ({ what, received, index })))(
        '$what receives $received',
        ({ received, index }) => {
          const error = errors.get(line(group, index));

          expect(error && `${textOf(program, nameOf(group, index))} is not ${received}: ${error}`).toBeUndefined();
        },
      );
    });
  });

  it('has no errors besides', () => {
    expect([...errors.values()]).toEqual([]);
  });

  it.each([
    ['a generic class', 'class Feed<T> { *m(): Iterable<T> {} }', "typeof Feed<Row>, 'm'", 'Row'],
    ['a generic class without its argument', 'class Feed<T> { *m(): Iterable<T> {} }', "typeof Feed, 'm'", 'unknown'],
    ['a generic method', 'class Feed { *m<T extends Row>(): Iterable<T> {} }', "typeof Feed, 'm'", 'Row'],
    [
      'a class with dependencies',
      'class Feed { constructor(private r: Row[]) {} m() { return this.r; } }',
      "typeof Feed, 'm'",
      'Row',
    ],
    ['an inherited method', 'class Base { *m() { yield row; } } class Feed extends Base {}', "typeof Feed, 'm'", 'Row'],
    ['an abstract class', 'abstract class Feed { abstract m(): Iterable<Row>; }', "typeof Feed, 'm'", 'Row'],
    [
      'the last signature of an overloaded method',
      'declare class Feed { m(a: 1): string[]; m(a: 2): Row[]; }',
      "typeof Feed, 'm'",
      'Row',
    ],
    ['a property that is no method', 'class Feed { m = 1; }', "typeof Feed, 'm'", 'never'],
    [
      'several methods',
      'class Feed { *m() { yield row; } n() { return "" as string; } }',
      "typeof Feed, 'm' | 'n'",
      'Row | string',
    ],
  ])('takes %s', (_what, feed, args, received) => {
    const ours = `${PREAMBLE}${feed} const same: Same<StreamOf<${args}>, ${received}> = true;`;

    expect(errorsIn(compile({ [FILE]: ours }), FILE)).toEqual([]);
  });

  it('refuses a name that the class does not have, and one that is private', () => {
    const ours = `${PREAMBLE}class Feed { private m() {} }
      type A = StreamOf<typeof Feed, 'absent'>;
      type B = StreamOf<typeof Feed, 'm'>;`;

    expect(errorsIn(compile({ [FILE]: ours }), FILE)).toEqual([
      { line: PREAMBLE.split('\n').length, message: expect.stringContaining(`'"absent"' does not satisfy`) as string },
      { line: PREAMBLE.split('\n').length + 1, message: expect.stringContaining(`'"m"' does not satisfy`) as string },
    ]);
  });

  it('costs the compiler little for many large types that contain each other', () => {
    const models = Array.from({ length: 100 }, (_each, index) => {
      const fields = Array.from({ length: 20 }, (_field, at) => `f${at}?: Date | null;`);
      const others = [1, 7, 31].map((step) => `o${step}: Model${(index + step) % 100}[];`);
      return `interface Model${index} { ${fields.join(' ')} ${others.join(' ')} }`;
    });
    const path = Array.from({ length: 12 }, (_each, at) => `.o${[1, 7, 31][at % 3]}[0]!`).join('');
    const ours = `${PREAMBLE}${models.join('\n')}
      class Feed { *m(): Iterable<Model0> {} }
      declare const received: StreamOf<typeof Feed, 'm'>;
      const text: string | null | undefined = received${path}.f7;`;
    const program = compile({ [FILE]: ours });
    const without = compile({ [FILE]: `${PREAMBLE}${models.join('\n')}` });

    expect(errorsIn(program, FILE)).toEqual([]);
    expect(errorsIn(without, FILE)).toEqual([]);
    expect(program.getInstantiationCount() - without.getInstantiationCount()).toBeLessThan(50_000);
  });

  it('needs no types of other packages', () => {
    const source = readFileSync(join(ROOT, 'lib/client/stream-of.ts'), 'utf8');

    expect(source).not.toMatch(/^import|import\(/m);
  });
});
