import type { Socket } from 'node:net';
import { isNotInstalled, textOf } from '../util/error-text.js';
import type { StreamLogger } from '../util/stream-logger.js';
import { type RoundWriter, useRoundWriter, writeTo } from './round-writer.js';

/** The version of the interface of the package that is used here. */
const CONTRACT = 1;

/** The package `nestjs-streaming-native`. A version of it that is not known here may have other types. */
interface NativePackage {
  readonly contract: number;
  readonly version: string;
  /** `undefined` on platforms that it does not support. */
  readonly createWriter: ((write: (socket: Socket, bytes: Buffer) => boolean) => RoundWriter) | undefined;
}

/** Returns the package, or `undefined` if it is not installed. */
async function importNative(): Promise<NativePackage | undefined> {
  try {
    // The type of the name keeps TypeScript from looking for the package, and bundlers still see the name.
    return (await import('nestjs-streaming-native' as string)) as NativePackage;
  } catch (error) {
    if (isNotInstalled('nestjs-streaming-native', error)) {
      return undefined;
    }
    throw error;
  }
}

/** Replaces the writer of rounds by the one of the package, if it is installed and can be used. Never rejects. */
export async function findNativeWriter(
  logger: StreamLogger,
  load: () => Promise<NativePackage | undefined> = importNative,
): Promise<void> {
  const { NESTJS_STREAMING_NATIVE: setting } = process.env;
  if (setting === 'off') {
    return;
  }
  try {
    const found = await load();
    if (found !== undefined) {
      useNative(found, logger);
    }
  } catch (error) {
    warn(logger, textOf(error));
  }
}

function useNative({ contract, version, createWriter }: NativePackage, logger: StreamLogger): void {
  if (contract !== CONTRACT) {
    warn(logger, `its version ${version} is for another version of nestjs-streaming: install the same version of both`);
  } else if (createWriter === undefined) {
    logger.debug(
      `nestjs-streaming-native ${version} has no native code for this platform: sockets write the events of hubs`,
    );
  } else {
    useRoundWriter(createWriter(writeTo));
    logger.debug(`nestjs-streaming-native ${version} writes the events of hubs to plain TCP connections`);
  }
}

function warn(logger: StreamLogger, why: string): void {
  logger.warn(
    `nestjs-streaming-native is installed, but not used: ${why}. Sockets write the events of hubs, as without it. ` +
      'The environment variable NESTJS_STREAMING_NATIVE=off says that this is intended',
  );
}

let searched: Promise<void> | undefined;

/** Looks for the package `nestjs-streaming-native`, once in a process. Never rejects. */
export function useNativeWriter(logger: StreamLogger): Promise<void> {
  searched ??= findNativeWriter(logger);
  return searched;
}
