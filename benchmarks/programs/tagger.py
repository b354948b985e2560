# SPDX-License-Identifier: Apache-2.0
"""A tagger of words, as PyTorch's tutorial on sequence models has it, with a bidirectional LSTM over packed sentences.

Out: JSON with the losses of each epoch and the CPU seconds of training. It knows nothing of elman.
"""

import json
import time

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

WORDS, TAGS, SENTENCES, LONGEST, BATCH, EPOCHS = 400, 9, 512, 40, 32, 4


class Tagger(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(WORDS, 32)
        self.lstm = torch.nn.LSTM(32, 64, batch_first=True, bidirectional=True)
        self.tags = torch.nn.Linear(128, TAGS)

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.words(words), lengths, batch_first=True, enforce_sorted=False)
        h, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=words.shape[1])
        return self.tags(h)


torch.manual_seed(0)
lengths = torch.randint(3, LONGEST + 1, (SENTENCES,))
words = torch.randint(1, WORDS, (SENTENCES, LONGEST)) * (torch.arange(LONGEST) < lengths[:, None])
tags = (words + words.roll(1, 1)) % TAGS  # of a word and the one before it
tags[words == 0] = -100

model = Tagger()
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
loss_of = torch.nn.CrossEntropyLoss()
losses, begin = [], time.process_time()
for _ in range(EPOCHS):
    total = 0.0
    for first in range(0, SENTENCES, BATCH):
        rows = slice(first, first + BATCH)
        optimizer.zero_grad()
        loss = loss_of(model(words[rows], lengths[rows]).flatten(0, 1), tags[rows].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        total += loss.item()
    losses.append(total)
seconds = time.process_time() - begin
print(json.dumps({"parts": {"a tagger in PyTorch, 4 epochs": {"numbers": losses, "seconds": seconds}}}))
