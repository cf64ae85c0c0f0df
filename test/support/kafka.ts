import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { realProcess } from './real-process.js';
import { toolPath } from './tools.js';

const ADDRESS = /bootstrap\.servers=([\d.]+:\d+)/;

/**
 * A broker of Kafka in memory: the mock cluster of librdkafka, in a process of `kcat`. It speaks the protocol of Kafka, with consumer groups, their
 * sessions and their commits. A topic is created when it is first used, with 4 partitions.
 */
export class KafkaServer {
  private constructor(
    private readonly child: ChildProcess,
    /** Its address, with the port. */
    readonly address: string,
  ) {}

  static async start(): Promise<KafkaServer> {
    // kcat only stays alive: it consumes a topic to which nobody writes.
    const options = ['-X', 'test.mock.num.brokers=1', '-d', 'mock', '-b', '127.0.0.1:1', '-G', 'idle', 'idle'];
    const child = spawn(toolPath('kcat') ?? 'kcat', options, { stdio: ['ignore', 'ignore', 'pipe'] });
    const kill = (): void => void child.kill('SIGKILL');
    realProcess.once('exit', kill);
    child.once('exit', () => realProcess.off('exit', kill));
    const address = await new Promise<string>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', () => reject(new Error('kcat has ended')));
      // All lines are read, also later: a full pipe would block the broker.
      createInterface({ input: child.stderr }).on('line', (line) => {
        const [, found] = ADDRESS.exec(line) ?? [];
        if (found !== undefined) {
          resolve(found);
        }
      });
    });
    return new KafkaServer(child, address);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = once(this.child, 'exit');
      this.child.kill('SIGKILL');
      await exited;
    }
  }
}
