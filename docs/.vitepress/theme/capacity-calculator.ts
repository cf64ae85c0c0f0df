import { defineComponent, h, reactive, type VNode } from 'vue';
import measured from '../../../bench/capacity/constants.json';
import { linesOf } from '../../../bench/capacity/lines.mjs';
import { EXAMPLE, plan } from '../../../bench/capacity/plan.mjs';

type Inputs = Record<string, number | string>;

const FIELDS = {
  clients: 'clients at the same time',
  topics: 'topics with clients',
  events: 'events a second',
  deliveries: 'deliveries a second',
  kept: 'events in the history',
};
const HISTORIES = { topic: 'a history for each topic', log: 'one history' };
const ROW = { display: 'flex', justifyContent: 'space-between', gap: '1rem', marginBottom: '0.5rem' };
const CONTROL = {
  border: '1px solid var(--vp-c-divider)',
  borderRadius: '4px',
  padding: '0.25rem 0.5rem',
  width: '14rem',
};

/** An element of the form, with its label. */
function field(inputs: Inputs, name: string, label: string, type: 'input' | 'select', options: VNode[] = []): VNode {
  const onInput = ({ target }: Event) => {
    const { value } = target as HTMLInputElement | HTMLSelectElement;
    inputs[name] = type === 'input' ? Number(value) : value;
  };
  const attributes = { name, value: inputs[name], style: CONTROL, onInput };
  const control =
    type === 'input' ? h('input', { ...attributes, type: 'number', min: 1 }) : h('select', attributes, options);
  return h('label', { style: ROW }, [label, control]);
}

function form(inputs: Inputs): VNode {
  const numbers = Object.entries(FIELDS).map(([name, label]) => field(inputs, name, label, 'input'));
  const histories = Object.entries(HISTORIES).map(([value, text]) => h('option', { value }, text));
  const onSubmit = (event: Event) => event.preventDefault();
  return h('form', { onSubmit }, [...numbers, field(inputs, 'history', 'the hub has', 'select', histories)]);
}

function result(inputs: Inputs): VNode | undefined {
  if (!Object.keys(FIELDS).every((name) => Number(inputs[name]) > 0)) {
    return undefined;
  }
  const lines = linesOf(plan({ ...EXAMPLE, ...inputs }, measured.constants));
  return h(
    'table',
    h(
      'tbody',
      lines.map(([what, value]) => h('tr', { key: what }, [h('td', what), h('td', value)])),
    ),
  );
}

/** Plans with the numbers of a reader, as `bench/capacity.mjs` does. */
export const CapacityCalculator = defineComponent({
  setup() {
    const inputs = reactive<Inputs>({ ...EXAMPLE });
    return () => [form(inputs), result(inputs)];
  },
});
