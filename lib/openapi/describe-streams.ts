import { HttpStatus, RequestMethod } from '@nestjs/common';
import { HTTP_CODE_METADATA, METHOD_METADATA } from '@nestjs/common/constants.js';
import type { ApiHeaderOptions, ApiResponseOptions } from '@nestjs/swagger';
import type { StreamFormat } from '../format/format.js';
import { HubSubscription } from '../hub/subscription.js';
import { validateOptions } from '../options/options-validation.js';
import type { StreamingModuleOptions } from '../options/streaming.options.js';
import type { StreamRoute } from '../route/route-explorer.js';
import { formatsOf } from '../route/route-settings.js';
import { isNotInstalled } from '../util/error-text.js';
import { itemSchemaOf } from './item-type.js';
import {
  JOINING_URL,
  LAST_EVENT_ID,
  NOTHING_NEW,
  PREFER,
  RUN_OVER,
  refusalsOf,
  SWITCHING,
  UPGRADE_REQUIRED,
} from './stream-answers.js';
import { streamContent } from './stream-content.js';
import { DECORATORS } from './swagger.js';

type Swagger = typeof import('@nestjs/swagger');
type Responses = Readonly<Record<string, Record<string, unknown>>>;

/** The key of the metadata that TypeScript writes with `emitDecoratorMetadata`, which Nest requires. */
const RETURN_TYPE = 'design:returntype';

/** The keys of a response that describe its body. */
const DESCRIBED_BY = ['content', 'schema', 'standardSchema', 'type', '$ref'];

/** The statuses of responses without a body. */
const WITHOUT_BODY = ['204', '205'];

/** The metadata of the user's decorators on each method, before descriptions were added: a method may belong to several applications. */
const given = new WeakMap<object, ReadonlyMap<string, unknown>>();

/**
 * Adds the metadata that `SwaggerModule.createDocument()` reads to stream routes, if `@nestjs/swagger` is installed. It is called when
 * providers are created, since a document may be created before the application is initialized.
 */
export async function describeStreams(
  routes: readonly StreamRoute[],
  application: StreamingModuleOptions,
): Promise<void> {
  for (const { handler } of routes) {
    restoreGiven(handler);
  }
  const swagger = routes.length > 0 && application.openapi !== false && (await importSwagger());
  if (swagger) {
    // Several controllers may inherit one method, so all metadata is saved before the first description is written.
    for (const { handler } of routes) {
      saveGiven(handler);
    }
    for (const route of routes) {
      new StreamDescription(swagger, route, application).write();
    }
  }
}

function saveGiven(handler: object): void {
  const keys = [DECORATORS.API_RESPONSE, DECORATORS.API_PARAMETERS, DECORATORS.API_EXTRA_MODELS];
  given.set(handler, new Map(keys.map((key) => [key, Reflect.getMetadata(key, handler)])));
}

/** Removes the metadata that another application has written to a method. */
function restoreGiven(handler: object): void {
  for (const [key, value] of given.get(handler) ?? []) {
    Reflect.defineMetadata(key, value, handler);
  }
}

async function importSwagger(): Promise<Swagger | undefined> {
  try {
    return await import('@nestjs/swagger');
  } catch (error) {
    if (isNotInstalled('@nestjs/swagger', error)) {
      return undefined;
    }
    throw error;
  }
}

function describesBody(answer: Responses[string] | undefined): boolean {
  return DESCRIBED_BY.some((key) => answer?.[key] !== undefined);
}

/** Writes the description of one route. Descriptions of the user are kept. */
class StreamDescription {
  private readonly formats: readonly StreamFormat[] | undefined;
  private readonly negotiated: boolean;
  private readonly descriptor: PropertyDescriptor;

  constructor(
    private readonly swagger: Swagger,
    private readonly route: StreamRoute,
    private readonly application: StreamingModuleOptions,
  ) {
    const { mark, handler, name } = route;
    validateOptions(mark.decorator, mark.options, `@${mark.decorator}() of ${name}`);
    this.formats = formatsOf(mark.options.format ?? application.format);
    this.negotiated = this.formats?.length !== 1;
    this.descriptor = { value: handler };
  }

  write(): void {
    const { controller, key, mark } = this.route;
    if (!this.http) {
      this.writeOnce(SWITCHING, UPGRADE_REQUIRED);
    } else {
      this.describeStream();
    }
    const limits = [this.application.limits, mark.options.limits].filter((each) => each !== undefined);
    const polled =
      this.http && Reflect.getMetadata(RETURN_TYPE, controller.prototype as object, key) === HubSubscription;
    const negotiated = this.http && this.negotiated;
    const ofRun = this.http && this.producesRuns;
    this.writeOnce(
      ...(polled ? [NOTHING_NEW] : []),
      ...(ofRun ? [RUN_OVER] : []),
      ...refusalsOf({ negotiated, limits }),
    );
    if (polled) {
      this.header(PREFER);
    }
    if (ofRun || mark.parameters.some(({ kind }) => kind === 'last-event-id')) {
      this.header(LAST_EVENT_ID);
    }
  }

  /** Whether clients can request the route over HTTP, and not only over WebSocket. */
  private get http(): boolean {
    const { protocols } = this.route.mark.options;
    return protocols === undefined || [protocols].flat().includes('http');
  }

  /** Whether the method is the producer of a run. */
  private get producesRuns(): boolean {
    return this.route.mark.options.onDisconnect !== undefined;
  }

  /** Writes responses that are not described yet. */
  private writeOnce(...answers: readonly (ApiResponseOptions & { status: number })[]): void {
    for (const answer of answers) {
      if (!this.responses[answer.status]) {
        this.respond(answer);
      }
    }
  }

  private describeStream(): void {
    const { type } = this.route.mark.options;
    const item = type === undefined ? undefined : itemSchemaOf(type, this.swagger.getSchemaPath);
    const { responses } = this;
    const usual = String(this.status);
    const other = Object.keys(responses).find(
      (each) => each.startsWith('2') && (!WITHOUT_BODY.includes(each) || describesBody(responses[each])),
    );
    const status = responses[usual] ? usual : (other ?? usual);
    const said = responses[status];
    if (describesBody(said)) {
      return;
    }
    if (item?.model) {
      this.apply(this.swagger.ApiExtraModels(item.model));
    }
    const byDefault = this.negotiated ? 'A stream, in the format the `Accept` header asks for' : 'A stream';
    // Written directly: `@nestjs/swagger` 11.0 would replace the response of the method, and later versions would join the descriptions.
    const own = this.responsesOf(this.route.handler);
    const description = own[status]?.description || said?.description || byDefault;
    const content = streamContent(this.formats, item?.schema, this.application.openapi || undefined);
    const headers = this.producesRuns && {
      headers: { ...JOINING_URL, ...(own[status]?.headers as object | undefined) },
    };
    const described = { ...own, [status]: { ...own[status], description, content, ...headers } };
    Reflect.defineMetadata(DECORATORS.API_RESPONSE, described, this.route.handler);
  }

  /** The responses that the method and its class describe already. */
  private get responses(): Responses {
    return { ...this.responsesOf(this.route.controller), ...this.responsesOf(this.route.handler) };
  }

  private responsesOf(target: object): Responses {
    return (Reflect.getMetadata(DECORATORS.API_RESPONSE, target) ?? {}) as Responses;
  }

  private get status(): number {
    const { handler } = this.route;
    const byMethod =
      Reflect.getMetadata(METHOD_METADATA, handler) === RequestMethod.POST ? HttpStatus.CREATED : HttpStatus.OK;
    const byFormat = this.formats?.[0]?.status;
    return (Reflect.getMetadata(HTTP_CODE_METADATA, handler) as number | undefined) ?? byFormat ?? byMethod;
  }

  private respond(response: ApiResponseOptions): void {
    this.apply(this.swagger.ApiResponse(response));
  }

  private header(options: ApiHeaderOptions): void {
    const { API_PARAMETERS, API_HEADERS } = DECORATORS;
    const { controller, handler } = this.route;
    const known = [
      ...((Reflect.getMetadata(API_HEADERS, controller) ?? []) as ApiHeaderOptions[]),
      ...((Reflect.getMetadata(API_PARAMETERS, handler) ?? []) as ApiHeaderOptions[]),
    ];
    if (!known.some(({ name }) => name?.toLowerCase() === options.name.toLowerCase())) {
      this.apply(this.swagger.ApiHeader(options));
    }
  }

  private apply(decorator: MethodDecorator): void {
    decorator(this.route.controller.prototype as object, this.route.key, this.descriptor);
  }
}
