"""Floor 5, the programmer's side: agents, sessions, tools and handlers, on a loop of their own."""
