/** A browser or app that got a code or a question for its user. */
export interface Device {
  id: string;
  /** Whose users the device belongs to, in words for people. */
  asker: string;
}

/** What a push brought. */
export interface Message {
  id: string;
  verification_id: string;
  body: string;
  /** Absent where there is a prompt. */
  code?: string;
  expires_at: string;
  prompt?: Prompt;
}

/** What a person is asked. Show all of it. */
export interface Prompt {
  challenge: string;
  /** The numbers to pick from. Absent: the person types the number that your page shows. */
  choices?: number[];
  asker: string;
  purpose: string;
  amount?: string;
  payee?: string;
  client_ip?: string;
  place?: string;
  user_agent?: string;
  device?: string;
  started_at: string;
}

/** What the server says of an answer. */
export interface Answered {
  accepted: boolean;
  status: 'pending' | 'approved' | 'exhausted' | 'expired' | 'canceled' | 'superseded';
  reason?: 'wrong_number' | 'old_challenge' | 'ended';
  /** For the next answer, for which the person types the number. */
  challenge?: string;
  attempts_remaining: number;
}

/** The error of a refused request. `code` is one of docs/push.md, such as no_enrolment. */
export interface Refusal extends Error {
  code?: string;
  http?: number;
}

export declare class Authenticator {
  /** server is the server's public address, worker the URL of worker.js on your own site. */
  constructor(options: {server: string; worker: string | URL});
  /** Makes this browser a device by an enrolment's code. Call it when the person presses a button, after notifications are allowed. */
  connect(code: string, options?: {name?: string; locale?: string}): Promise<Device>;
  /** The devices that this browser is: one for each user. */
  devices(): Promise<Device[]>;
  /** Stops being a device. */
  forget(id: string): Promise<void>;
  /** The newest message that waits, or null. */
  pending(): Promise<Message | null>;
  /** Says of a prompt the number, as two digits, or 'deny'. */
  answer(message: Message, says: string): Promise<Answered>;
  /** Drops a message that its person has seen. */
  dismiss(message: Message): Promise<void>;
  /** Calls back when a push has come. Returns how to stop that. */
  watch(changed: () => void): () => void;
}
