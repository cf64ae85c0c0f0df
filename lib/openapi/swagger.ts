import type { ApiResponseOptions } from '@nestjs/swagger';

// What `@nestjs/swagger` does not export in every version that this package supports.

type Content = NonNullable<ApiResponseOptions['content']>;

/** A schema, or a reference to one. */
export type Schema = NonNullable<Content[string]['schema']>;

type ReferenceObject = Extract<Schema, { $ref: string }>;
export type SchemaObject = Exclude<Schema, ReferenceObject>;

/** The keys under which its decorators store metadata. */
export const DECORATORS = {
  API_RESPONSE: 'swagger/apiResponse',
  API_PARAMETERS: 'swagger/apiParameters',
  API_HEADERS: 'swagger/apiHeaders',
  API_EXTRA_MODELS: 'swagger/apiExtraModels',
} as const;
