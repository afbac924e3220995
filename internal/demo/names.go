package demo

// Words from which the demo's people, channels and chatter are made. Some names have accents and other scripts, so that
// a search has to prove itself.

func givenNames() []string {
	return []string{
		"Aaliyah", "Ágnes", "Akira", "Amélie", "Anders", "Anjali", "Åsa", "Beatriz", "Björn", "Bogdan",
		"Brooke", "Çağla", "Camille", "Carlos", "Chidi", "Chloé", "Daniël", "Dmitri", "Elif", "Emeka",
		"Esperança", "Eva", "Fatima", "Félix", "Finn", "Françoise", "Gabriela", "Grace", "Håkon", "Hana",
		"Ignacio", "Ingrid", "Isla", "Iván", "Jakub", "Jelena", "João", "Johanna", "José", "Jürgen",
		"Kaito", "Kateřina", "Khalid", "Kwame", "Lærke", "Laszlo", "Leïla", "Linnea", "Łukasz", "Mahmoud",
		"Maïa", "Małgorzata", "Marisol", "Mateo", "Mei", "Nia", "Niamh", "Noor", "Øystein", "Oluwaseun",
		"Paulo", "Priya", "Quentin", "Raúl", "Renée", "Rosa", "Ruslan", "Saoirse", "Sébastien", "Siobhán",
		"Søren", "Sota", "Stella", "Tadeusz", "Tamsin", "Thandiwe", "Théo", "Tomáš", "Úna", "Valentina",
		"Věra", "Viktor", "Wanjiru", "Wei", "Xavier", "Yara", "Yuki", "Zahra", "Žofie", "Zoë",
	}
}

func handles() []string {
	return []string{
		"otter", "lantern", "mothwing", "pixel", "bramble", "quasar", "biscuit", "ferrous", "gizmo", "halcyon",
		"inkwell", "jubilee", "kestrel", "lichen", "marzipan", "nimbus", "obsidian", "pancake", "quill", "rocket",
		"saffron", "tundra", "umber", "velvet", "walnut", "xylo", "yonder", "zephyr", "cobalt", "driftwood",
	}
}

func channelNames() []string {
	return []string{
		"welcome", "rules", "announcements", "general", "introductions", "memes", "music", "gaming",
		"art-share", "pet-pics", "book-club", "cooking", "help-desk", "bot-spam", "starboard", "voice-lobby",
		"moderators", "audit",
	}
}

func emojiNames() []string {
	return []string{
		"catjam", "blobwave", "thonk", "partyparrot", "pepehands", "sadge", "poggers", "owl",
		"this_is_fine", "coffee_time", "shipit", "bonk",
	}
}

func chatter() []string {
	return []string{
		"good morning everyone", "who is up for a round tonight?", "that update broke my mods again",
		"I made bread, pictures in #cooking", "does anyone still have the link?", "brb, cat on keyboard",
		"the new banner looks great", "movie night moved to Saturday", "I can host if the server is free",
		"welcome aboard!", "please keep spoilers in the thread", "lol", "same", "deploying on a Friday, wish me luck",
		"first snow of the year here", "the playlist is back up", "my headphones died :(", "gg wp",
		"can a mod have a look at #help-desk?", "thanks, that fixed it",
	}
}

func reactionEmojis() []string {
	return []string{"👍", "😂", "❤️", "🎉", "👀", "🦉", "✅", "🔥", "😢", "🥐"}
}

// responsePairs are the guild's first auto responses.
func responsePairs() [][2]string {
	return [][2]string{
		{"hello there", "general [kenobi, mayhem, confusion]"},
		{"good bot", "[:blobwave:]"},
		{"owo", "what's this?"},
		{"f", "[author] pays their respects ([count] so far)"},
		{"^i'?m (.+)$", "hi [0], I'm architus"},
		{"who asked?", "[member] did"},
		{"ship it!", "[:shipit:] deploying the [adj] [noun]"},
		{"compliment me", "[author], you are a truly [adj] [noun]"},
		{"ping", "pong"},
		{"^(what|how) now$", "[capture] indeed"},
		{"press play", "[🎉]"},
		{"moving castle", "howl"},
	}
}
