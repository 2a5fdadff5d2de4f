// Written by `npm run generate` from the OpenAPI document of a running stack. Do not edit.

export type Database = {
  api: {
    Tables: Record<never, never>;
    Views: {
      /** The audit of what hookify decided; never changed */
      hookify_decisions: {
        Row: {
          /** Notes in Markdown, or null */
          annotations: string | null;
          /** Whether the content was blocked */
          blocked: boolean | null;
          /** SHA-256 (hex) of the content as UTF-8; the content itself is not kept */
          content_hash: string | null;
          /** When the decision was recorded */
          created_at: string | null;
          /** The decision's id, hook_<uuid> */
          id: string | null;
          /** What the user was told, or null */
          message: string | null;
          /** 1, 2, 3 … in the order made, over all the profile's sessions */
          position: number | null;
          /** row_hash of the profile's decision before; 64 zeros for the first */
          previous_hash: string | null;
          /** The profile that the decision belongs to */
          profile_id: string | null;
          /** SHA-256 (hex) over the decision and previous_hash: a link of the chain */
          row_hash: string | null;
          /** The rules that matched: an array of {id, severity} */
          rules: unknown;
          /** The session that the content belongs to */
          session_id: string | null;
          /** The gravest finding: none, info, low, medium, high or critical */
          severity: string | null;
          /** Where the content came from: timeline, session or manual */
          source: string | null;
        };
        Insert: {
          annotations?: string | null;
          blocked?: boolean | null;
          content_hash?: string | null;
          created_at?: string | null;
          id?: string | null;
          message?: string | null;
          position?: number | null;
          previous_hash?: string | null;
          profile_id?: string | null;
          row_hash?: string | null;
          rules?: unknown;
          session_id?: string | null;
          severity?: string | null;
          source?: string | null;
        };
        Update: {
          annotations?: string | null;
          blocked?: boolean | null;
          content_hash?: string | null;
          created_at?: string | null;
          id?: string | null;
          message?: string | null;
          position?: number | null;
          previous_hash?: string | null;
          profile_id?: string | null;
          row_hash?: string | null;
          rules?: unknown;
          session_id?: string | null;
          severity?: string | null;
          source?: string | null;
        };
        Relationships: [];
      };
      /** Every status that a misalignment entered, when and by whom */
      misalignment_transitions: {
        Row: {
          /** When */
          changed_at: string | null;
          /** Who: a profile or a database login */
          changed_by: string | null;
          /** The status before; null at the start */
          from_status: string | null;
          /** The misalignment */
          misalignment_id: string | null;
          /** 1, 2, 3 … for each misalignment, in the order made */
          number: number | null;
          /** The profile that the misalignment belongs to */
          profile_id: string | null;
          /** The session that the misalignment belongs to */
          session_id: string | null;
          /** The status entered */
          to_status: string | null;
        };
        Insert: {
          changed_at?: string | null;
          changed_by?: string | null;
          from_status?: string | null;
          misalignment_id?: string | null;
          number?: number | null;
          profile_id?: string | null;
          session_id?: string | null;
          to_status?: string | null;
        };
        Update: {
          changed_at?: string | null;
          changed_by?: string | null;
          from_status?: string | null;
          misalignment_id?: string | null;
          number?: number | null;
          profile_id?: string | null;
          session_id?: string | null;
          to_status?: string | null;
        };
        Relationships: [];
      };
      /** Where a session departed from a rule, and what was done about it */
      misalignments: {
        Row: {
          /** When it was first found */
          created_at: string | null;
          /** Where in the timeline: {startIndex, endIndex, startAt, endAt}, or null */
          event_range: unknown;
          /** What shows it: an array of {message, eventIndex?, eventId?, highlight?} */
          evidence: unknown;
          /** The misalignment's id within its session, mis-<session_id>-<rule_id> */
          id: string | null;
          /** The status before the last transition; null before the first */
          previous_status: string | null;
          /** The rule that was broken */
          rule_id: string | null;
          /** The session that departed from the rule */
          session_id: string | null;
          /** info, low, medium, high or critical */
          severity: string | null;
          /** open, acknowledged or dismissed */
          status: string | null;
          /** What happened */
          summary: string | null;
          /** A heading */
          title: string | null;
          /** When its content or status last changed */
          updated_at: string | null;
        };
        Insert: {
          created_at?: string | null;
          event_range?: unknown;
          evidence?: unknown;
          id?: string | null;
          previous_status?: string | null;
          rule_id?: string | null;
          session_id?: string | null;
          severity?: string | null;
          status?: string | null;
          summary?: string | null;
          title?: string | null;
          updated_at?: string | null;
        };
        Update: {
          created_at?: string | null;
          event_range?: unknown;
          evidence?: unknown;
          id?: string | null;
          previous_status?: string | null;
          rule_id?: string | null;
          session_id?: string | null;
          severity?: string | null;
          status?: string | null;
          summary?: string | null;
          title?: string | null;
          updated_at?: string | null;
        };
        Relationships: [];
      };
      /** Which repository each session works on */
      session_repo_bindings: {
        Row: {
          /** The session's asset */
          asset_path: string | null;
          /** The root folder of the repository */
          root_dir: string | null;
          /** The session; it has one binding at most */
          session_id: string | null;
          /** When the binding was last set */
          updated_at: string | null;
        };
        Insert: {
          asset_path?: string | null;
          root_dir?: string | null;
          session_id?: string | null;
          updated_at?: string | null;
        };
        Update: {
          asset_path?: string | null;
          root_dir?: string | null;
          session_id?: string | null;
          updated_at?: string | null;
        };
        Relationships: [];
      };
      /** The profile's list of todos */
      todos: {
        Row: {
          /** Whether it is done */
          completed: boolean | null;
          /** When it was added */
          created_at: string | null;
          /** The todo's id, a UUID; made here where none is given */
          id: string | null;
          /** What to do, kept as typed; not blank */
          text: string | null;
        };
        Insert: {
          completed?: boolean | null;
          created_at?: string | null;
          id?: string | null;
          text?: string | null;
        };
        Update: {
          completed?: boolean | null;
          created_at?: string | null;
          id?: string | null;
          text?: string | null;
        };
        Relationships: [];
      };
      /** Every status that a tool event entered, when and by whom */
      tool_event_transitions: {
        Row: {
          /** When */
          changed_at: string | null;
          /** Who: a profile, "import" for a legacy file, or a database login */
          changed_by: string | null;
          /** The status before; null at the start */
          from_status: string | null;
          /** The profile that the event belongs to */
          profile_id: string | null;
          /** The status entered */
          to_status: string | null;
          /** The event */
          tool_event_id: string | null;
        };
        Insert: {
          changed_at?: string | null;
          changed_by?: string | null;
          from_status?: string | null;
          profile_id?: string | null;
          to_status?: string | null;
          tool_event_id?: string | null;
        };
        Update: {
          changed_at?: string | null;
          changed_by?: string | null;
          from_status?: string | null;
          profile_id?: string | null;
          to_status?: string | null;
          tool_event_id?: string | null;
        };
        Relationships: [];
      };
      /** The tool runs of the profile's chats */
      tool_events: {
        Row: {
          /** What the tool was called with: any JSON */
          arguments: unknown;
          /** When it succeeded or failed; null before */
          completed_at: string | null;
          /** The timeline events that the tool looked at: */
          context_events: unknown;
          /** Why the tool failed; null unless failed */
          error: string | null;
          /** The event's id, tool_<uuid> */
          id: string | null;
          /** completed_at - started_at in milliseconds; null before it finished */
          latency_ms: number | null;
          /** What the tool gave: any JSON; null until finished */
          result: unknown;
          /** The session that the chat belongs to */
          session_id: string | null;
          /** When the event was recorded */
          started_at: string | null;
          /** pending, executing, succeeded or failed; the last two are final */
          status: string | null;
          /** The chat thread, or null */
          thread_id: string | null;
          /** The model provider's id of the call, or null; not unique across sessions */
          tool_call_id: string | null;
          /** Which tool ran, for example get_timeline_event */
          tool_name: string | null;
        };
        Insert: {
          arguments?: unknown;
          completed_at?: string | null;
          context_events?: unknown;
          error?: string | null;
          id?: string | null;
          latency_ms?: number | null;
          result?: unknown;
          session_id?: string | null;
          started_at?: string | null;
          status?: string | null;
          thread_id?: string | null;
          tool_call_id?: string | null;
          tool_name?: string | null;
        };
        Update: {
          arguments?: unknown;
          completed_at?: string | null;
          context_events?: unknown;
          error?: string | null;
          id?: string | null;
          latency_ms?: number | null;
          result?: unknown;
          session_id?: string | null;
          started_at?: string | null;
          status?: string | null;
          thread_id?: string | null;
          tool_call_id?: string | null;
          tool_name?: string | null;
        };
        Relationships: [];
      };
      /** The profile's UI settings: one row, or none before the first save */
      ui_settings: {
        Row: {
          /** 1, 2, 3 …: moves at every change; send it as expected_revision to save only over what you read */
          revision: number | null;
          /** The document as the app saved it; keys that sessionbase does not know are kept */
          settings: unknown;
          /** When the settings last changed */
          updated_at: string | null;
        };
        Insert: {
          revision?: number | null;
          settings?: unknown;
          updated_at?: string | null;
        };
        Update: {
          revision?: number | null;
          settings?: unknown;
          updated_at?: string | null;
        };
        Relationships: [];
      };
    };
    Functions: {
      /** Delete a todo */
      delete_todo: {
        Args: {
          id: string | null;
        };
        Returns: unknown;
      };
      /** Take in what a detector found in a session: all of it, or nothing */
      ingest_misalignments: {
        Args: {
          candidates: unknown;
          session_id: string | null;
        };
        Returns: unknown;
      };
      /** Change parts of the profile's UI settings (RFC 7396 merge patch) */
      patch_ui_settings: {
        Args: {
          expected_revision?: number | null;
          patch: unknown;
        };
        Returns: unknown;
      };
      /** Record what hookify decided about a piece of content */
      record_hookify_decision: {
        Args: {
          annotations?: string | null;
          blocked: boolean | null;
          content?: string | null;
          content_hash?: string | null;
          id?: string | null;
          message?: string | null;
          rules: unknown;
          session_id: string | null;
          severity: string | null;
          source: string | null;
        };
        Returns: unknown;
      };
      /** Record that a tool run has started */
      record_tool_event: {
        Args: {
          arguments: unknown;
          context_events?: unknown;
          id?: string | null;
          session_id: string | null;
          status?: string | null;
          thread_id?: string | null;
          tool_call_id?: string | null;
          tool_name: string | null;
        };
        Returns: unknown;
      };
      /** Replace the profile's UI settings */
      save_ui_settings: {
        Args: {
          expected_revision?: number | null;
          settings: unknown;
        };
        Returns: unknown;
      };
      /** What the chat prompt needs to know of a session, in one snapshot */
      session_context: {
        Args: {
          session_id: string | null;
        };
        Returns: unknown;
      };
      /** Say which repository a session works on */
      set_session_repo_binding: {
        Args: {
          asset_path: string | null;
          root_dir: string | null;
          session_id: string | null;
        };
        Returns: unknown;
      };
      /** Turn a todo from open to done, or back */
      toggle_todo: {
        Args: {
          id: string | null;
        };
        Returns: unknown;
      };
      /** Acknowledge, dismiss or re-open a misalignment */
      transition_misalignment: {
        Args: {
          expected_status?: string | null;
          id: string | null;
          session_id: string | null;
          to_status: string | null;
        };
        Returns: unknown;
      };
      /** Move a tool event to another status, by its id */
      transition_tool_event: {
        Args: {
          context_events?: unknown;
          error?: string | null;
          expected_status?: string | null;
          id: string | null;
          result?: unknown;
          to_status: string | null;
        };
        Returns: unknown;
      };
      /** Move a tool event to another status, by the model provider's id of the call */
      transition_tool_event_by_call: {
        Args: {
          context_events?: unknown;
          error?: string | null;
          expected_status?: string | null;
          result?: unknown;
          session_id?: string | null;
          to_status: string | null;
          tool_call_id: string | null;
        };
        Returns: unknown;
      };
      /** Check that no decision of a profile was changed, removed or moved */
      verify_hookify_decisions: {
        Args: {
          profile_id?: string | null;
        };
        Returns: unknown;
      };
    };
  };
};
